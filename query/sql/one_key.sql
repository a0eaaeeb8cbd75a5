-- Any key of the table, for the types of its attributes.
SELECT item_key FROM changes LIMIT 1
