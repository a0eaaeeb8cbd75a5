-- The same of the segments beside the runs, all of whose changes lie at or before the instant.
CREATE OR REPLACE TEMP VIEW layer AS
SELECT
    item_key, pk, sk, 'change' AS basis, new_image AS image, change_id, op, stream_label, sequence_number,
    changed_at_ms AS changed_ms,
    max(changed_at_ms) OVER (PARTITION BY item_key) AS effective_ms,
    op <> 'REMOVE' AS existed
FROM changes
WHERE changed_at_ms >= getvariable('layers').from_ms
QUALIFY row_number() OVER (PARTITION BY item_key ORDER BY stream_label DESC, sequence_number DESC, row_id) = 1
