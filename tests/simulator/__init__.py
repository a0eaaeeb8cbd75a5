"""A DynamoDB table, its stream and the Lambda event source mapping, simulated from the documented rules.

One `random.Random(seed)` drives everything; time is virtual; the same seed gives the same run. Entry points:
`run.simulate` (one history through a handler and a store), `check.check` (what a reader read back, against the model),
`check.shrink` (the fewest writes that still fail).

    table.py      writes to a table, no-ops, deletes, a table made anew
    stream.py     records, sequence numbers, shards
    poison.py     records that cannot be understood
    mapping.py    the event source mapping: batches, lanes, retries, duplicates, expiry
    faults.py     a store that refuses, loses answers, kills the function
    destination.py  what is left when retries end
    deployed.py   the mapping and the function as infra/template.yaml deploys them
    scan.py       baselines
    scenario.py   what one seed chooses
    workload.py   what the application writes
    toy.py        an archiver and a reader with switchable defects, to judge the simulator by
"""
