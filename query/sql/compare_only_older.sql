-- Items of the older state that the newer one does not have.
SELECT item_key FROM older WHERE item_key NOT IN (SELECT item_key FROM newer) AND item_key NOT IN (SELECT item_key FROM left_out)
