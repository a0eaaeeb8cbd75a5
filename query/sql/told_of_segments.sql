-- What the segments beside the runs left of each item, all of whose changes lie at or before the instant. A place says
-- where the row stands (file by rank, row) and whether the item existed: the least place of an item is that of the newest
-- layer.
CREATE OR REPLACE TEMP TABLE told_of_segments AS
SELECT
    item_key, new_image AS image, change_id, changed_at_ms AS changed_ms,
    place_at(0, row_number() OVER () - 1, op <> 'REMOVE') AS place,
    max(changed_at_ms) OVER (PARTITION BY item_key) AS effective_ms,
    stream_label, ord
FROM changes
QUALIFY row_number() OVER (PARTITION BY item_key ORDER BY ord DESC, row_id) = 1
