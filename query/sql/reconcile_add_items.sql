-- One batch of the items that are compared.
INSERT INTO live SELECT item_key, image FROM items_batch
