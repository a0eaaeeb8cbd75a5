SELECT item_key, image, n_image, basis, change_id, changed_at_ms, valid_from_ms, reason, rule, was_before, is_p_known, is_n_known
FROM states
ORDER BY item_key
