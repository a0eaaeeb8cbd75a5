INSERT INTO older SELECT item_key, image, change_id, changed_at_ms FROM compare_batch
