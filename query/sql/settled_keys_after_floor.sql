-- Leaves to the baseline what was changed before it, and not since.
DELETE FROM settled WHERE effective_ms < getvariable('layers').floor_ms
