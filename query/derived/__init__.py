"""Derived data: runs and snapshots, computed from evidence and rebuilt from it when they are gone."""
