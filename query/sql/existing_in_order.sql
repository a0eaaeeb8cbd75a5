SELECT * FROM existing ORDER BY item_key
