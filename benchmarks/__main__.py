"""`python -m benchmarks [archiver|reading|startup|verifying]`: everything, or one part."""

import sys

from benchmarks import archiver, reading, startup, verifying

PARTS = {"archiver": archiver, "startup": startup, "reading": reading, "verifying": verifying}

for name in sys.argv[1:] or PARTS:
    part = PARTS[name]
    print(part.report(part.run()), end="\n\n", flush=True)
