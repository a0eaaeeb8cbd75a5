-- One batch of what the stream held.
INSERT INTO streamed SELECT item_key, sequence_number, change_id, op, changed_at_ms, leaf FROM streamed_batch
