"""`python -m benchmarks [archiver|reading|startup]`: everything, or one part."""

import sys

from benchmarks import archiver, reading, startup

PARTS = {"archiver": archiver, "startup": startup, "reading": reading}

for name in sys.argv[1:] or PARTS:
    part = PARTS[name]
    print(part.report(part.run()), end="\n\n", flush=True)
