-- All layers; what was changed before the floor, and not since, is left to the floor.
CREATE OR REPLACE TEMP VIEW told AS
SELECT item_key, place, effective_ms, stream_label, ord
FROM told_of_segments
WHERE effective_ms >= getvariable('layers').from_ms
UNION ALL
SELECT * FROM told_of_runs
UNION ALL
SELECT * FROM told_below
