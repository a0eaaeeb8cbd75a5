"""Builds the site into build/site: `python -m docs.site`."""

import sys
from pathlib import Path

from docs.site.build import build

if __name__ == "__main__":
    sys.exit(build(Path(__file__).parents[2]))
