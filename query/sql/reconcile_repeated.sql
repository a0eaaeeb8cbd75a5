-- The first item that the rows hold more than once, and how often.
SELECT item_key, count(*) AS times FROM live GROUP BY item_key HAVING count(*) > 1 ORDER BY item_key LIMIT 1
