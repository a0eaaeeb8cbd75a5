-- The rows of one label: what their leaves are made from.
SELECT
    change_id, op, changed_at_ms, sequence_number, item_key, old_image, new_image, user_identity, event,
    (row_id >> 32)::BIGINT AS file_index
FROM changes
WHERE stream_label = $label
