"""Measurements, as ratios within one run: machines are noisy, so nothing here is a timed test."""

import os

# Processes that are measured keep what Python compiles, as those of a user do: where this shell has told Python to
# keep nothing, each of them would compile all it imports, half a second of it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
