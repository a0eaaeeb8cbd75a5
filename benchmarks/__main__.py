"""`python -m benchmarks [PART…]`: everything, or the parts named: the names are those of `PARTS`."""

import sys

from benchmarks import (
    archiver,
    compacting,
    latency,
    long_history,
    peers,
    reading,
    seal_gate,
    startup,
    verify_rows,
    verifying,
)

PARTS = {
    "archiver": archiver,
    "startup": startup,
    "reading": reading,
    "seal-gate": seal_gate,
    "verifying": verifying,
    "rows": verify_rows,
    "peers": peers,
    "compacting": compacting,
    "latency": latency,
    "long-history": long_history,
}

for name in sys.argv[1:] or PARTS:
    part = PARTS[name]
    print(part.report(part.run()), end="\n\n", flush=True)
