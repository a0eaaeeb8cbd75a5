-- Items of the newer state that the older one does not have.
SELECT item_key FROM newer WHERE item_key NOT IN (SELECT item_key FROM older) AND item_key NOT IN (SELECT item_key FROM left_out)
