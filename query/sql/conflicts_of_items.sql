-- Changes of some items that rows tell differently, as text: how many.
SELECT count(*)
FROM (
    SELECT 1
    FROM changes
    WHERE item_key IN (SELECT unnest($item_keys))
    GROUP BY item_key, ord
    HAVING count(*) > 1 AND count(DISTINCT (op, changed_at_ms, old_image, new_image)) > 1
)
