-- Every row of one item collection; rows without a hint are told apart by their key's value, by the caller.
SELECT
    change_id, op, changed_at_ms, sequence_number, stream_label, item_key, pk, sk, old_image, new_image,
    user_identity, event, told_by
FROM changes
WHERE pk IS NULL OR pk = $pk
ORDER BY item_key, ord, row_id
