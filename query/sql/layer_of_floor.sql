-- The items of a complete baseline.
CREATE OR REPLACE TEMP VIEW layer AS
SELECT
    item_key, pk, sk, 'baseline' AS basis, image, NULL::VARCHAR AS change_id, NULL::VARCHAR AS op,
    NULL::VARCHAR AS stream_label, NULL::VARCHAR AS sequence_number, NULL::BIGINT AS changed_ms,
    NULL::BIGINT AS effective_ms,
    true AS existed
FROM floor
