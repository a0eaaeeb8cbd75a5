-- The rows of one label: what their leaves are made from.
SELECT
    change_id, op, changed_at_ms, sequence_number, item_key, old_image, new_image, user_identity, event,
    told_by
FROM changes
WHERE stream_label = $label
