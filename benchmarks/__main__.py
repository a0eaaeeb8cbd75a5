"""`python -m benchmarks [archiver|reading|rows|seal-gate|startup|verifying]`: everything, or one part."""

import sys

from benchmarks import archiver, reading, seal_gate, startup, verify_rows, verifying

PARTS = {
    "archiver": archiver,
    "startup": startup,
    "reading": reading,
    "seal-gate": seal_gate,
    "verifying": verifying,
    "rows": verify_rows,
}

for name in sys.argv[1:] or PARTS:
    part = PARTS[name]
    print(part.report(part.run()), end="\n\n", flush=True)
