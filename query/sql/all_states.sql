SELECT * EXCLUDE (rests_on_change) FROM answers ORDER BY item_key
