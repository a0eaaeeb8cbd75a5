-- The items with the most changes.
SELECT item_key, count(*) AS changes
FROM stat_counted
GROUP BY item_key
ORDER BY changes DESC, item_key
LIMIT $most
