-- One row for each item ever known, in the order of runs.
SELECT
    item_key, pk, sk,
    CASE WHEN image IS NOT NULL THEN 'existed' ELSE 'already-deleted' END AS outcome,
    basis, image, change_id, op,
    make_timestamp_ms(changed_ms) AS changed_at,
    make_timestamp_ms(effective_ms) AS effective_at,
    stream_label, sequence_number
FROM settled
ORDER BY pk NULLS FIRST, sk NULLS FIRST, item_key
