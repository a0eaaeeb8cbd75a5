-- Where each layer tells of an item last; what was changed before the floor, and not since, is left to the floor. Items are
-- told apart by digests of their keys: 16 bytes each, which are read and compared faster than keys.
CREATE TEMP VIEW located AS
SELECT item_digest(item_key) AS item, place
FROM told_of_segments
WHERE effective_ms >= getvariable('layers').from_ms
UNION ALL
SELECT item, place FROM located_in_items
UNION ALL
SELECT item, place FROM located_in_cut_runs
UNION ALL
SELECT item, place FROM located_in_baseline
