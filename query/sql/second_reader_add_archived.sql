-- One batch of what evidence holds.
INSERT INTO archived SELECT item_key, sequence_number, change_id, op, changed_at_ms, leaf, segment FROM archived_batch
