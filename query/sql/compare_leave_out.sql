INSERT INTO left_out SELECT unnest($item_keys::VARCHAR[])
