-- What was changed before a complete baseline, and not since, is what the baseline shows; or it is gone.
UPDATE settled
SET basis = 'baseline', image = (SELECT floor.image FROM floor WHERE floor.item_key = settled.item_key)
WHERE effective_ms < getvariable('layers').floor_ms
