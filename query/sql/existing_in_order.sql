-- The items that existed, those that segments tell of among the others, put in order.
FROM existing
UNION ALL
FROM existing_in_segments
ORDER BY item_key
