-- Every row of one item. `pk` only helps to skip files: where the key schema was not known it is NULL.
SELECT
    change_id, op, changed_at_ms, sequence_number, stream_label, item_key, pk, sk, old_image, new_image,
    user_identity, event, told_by
FROM changes
WHERE (pk IS NULL OR pk = $pk) AND item_key = $item_key
ORDER BY ord, row_id
