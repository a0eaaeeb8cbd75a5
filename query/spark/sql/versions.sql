-- Each change with the version that it begins. Effective time is the running maximum of what an item's changes state, in
-- their order; `is_refused` says that one of them is in conflict, so that the item has no history.
WITH timed AS (
    SELECT
        *,
        max(latest_at) OVER (PARTITION BY item_key ORDER BY stream_label, sequence_number) AS effective_at,
        max(is_contradicted) OVER (PARTITION BY item_key) AS is_refused
    FROM changes
)
SELECT
    *,
    CASE WHEN op <> 'REMOVE' THEN new_image END AS image,
    effective_at AS valid_from,
    lead(effective_at) OVER (PARTITION BY item_key ORDER BY stream_label, sequence_number) AS valid_to
FROM timed
