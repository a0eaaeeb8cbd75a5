-- One batch of them.
INSERT INTO touched SELECT item_key FROM touched_batch
