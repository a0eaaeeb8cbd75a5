"""`python -m benchmarks [archiver|reading|rows|startup|verifying]`: everything, or one part."""

import sys

from benchmarks import archiver, reading, startup, verify_rows, verifying

PARTS = {"archiver": archiver, "startup": startup, "reading": reading, "verifying": verifying, "rows": verify_rows}

for name in sys.argv[1:] or PARTS:
    part = PARTS[name]
    print(part.report(part.run()), end="\n\n", flush=True)
