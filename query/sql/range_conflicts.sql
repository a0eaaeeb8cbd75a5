-- Changes that several rows in a half-open range of creation times tell of, where the rows differ as text. What is told
-- of them outside the range does not count: it may not have been read.
WITH inside AS (SELECT * FROM changes WHERE changed_at_ms >= $since_ms AND changed_at_ms < $until_ms),
repeated AS (
    SELECT item_key, ord
    FROM inside
    GROUP BY item_key, ord
    HAVING count(*) > 1 AND count(DISTINCT (op, changed_at_ms, old_image, new_image)) > 1
)
SELECT
    item_key, stream_label, sequence_number, op, changed_at_ms, old_image, new_image, told_by
FROM inside
JOIN repeated USING (item_key, ord)
ORDER BY item_key, ord, row_id
