-- Every row of one item, when the order of its key attributes is not known.
SELECT
    change_id, op, changed_at_ms, sequence_number, stream_label, item_key, pk, sk, old_image, new_image,
    user_identity, event, told_by
FROM changes
WHERE item_key = $item_key
ORDER BY ord, row_id
