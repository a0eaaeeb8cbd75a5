-- A trail without segments: no rows, the same columns.
CREATE OR REPLACE TEMP VIEW changes AS
SELECT
    '' AS change_id, '' AS op, now() AS changed_at, '' AS sequence_number, '' AS stream_label, '' AS item_key,
    ''  AS pk, '' AS sk, '' AS old_image, '' AS new_image, '' AS user_identity, '' AS event,
    '' AS ord, 0::BIGINT AS changed_at_ms, 0::BIGINT AS row_id, 0::BIGINT AS told_by,
    0::BIGINT AS effective_ms, 0::BIGINT AS preceded_ms, 0::BIGINT AS superseded_ms
WHERE false
