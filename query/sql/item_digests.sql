-- The bytes of `item_digest` for each key, in the order in which keys were given.
SELECT unhex(left(sha256(item_key), 32)) AS item_digest FROM keyed ORDER BY row
