-- Changes in a range that several rows tell of, where the rows differ as text.
WITH repeated AS (
    SELECT item_key, ord
    FROM changes
    GROUP BY item_key, ord
    HAVING count(*) > 1 AND count(DISTINCT (op, changed_at_ms, old_image, new_image)) > 1
)
SELECT
    item_key, stream_label, sequence_number, op, changed_at_ms, old_image, new_image, told_by
FROM changes
JOIN repeated USING (item_key, ord)
ORDER BY item_key, ord, row_id
