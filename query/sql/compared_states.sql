-- Items that are in one state only, or with another image as text.
SELECT
    coalesce(older.item_key, newer.item_key) AS item_key,
    older.image AS old_image,
    newer.image AS new_image,
    newer.change_id AS change_id,
    newer.changed_at_ms AS changed_at_ms
FROM older
FULL JOIN newer ON older.item_key = newer.item_key
WHERE
    older.image IS DISTINCT FROM newer.image
    AND coalesce(older.item_key, newer.item_key) NOT IN (SELECT item_key FROM left_out)
ORDER BY 1
