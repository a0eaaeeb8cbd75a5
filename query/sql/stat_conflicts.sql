-- Of those, the changes whose rows differ as text.
WITH told AS (
    SELECT *
    FROM stat_rows
    WHERE
        identity IN (SELECT identity FROM stat_repeated)
        AND is_in_range(changed_at_ms)
),
differing AS (
    SELECT item_key, stream_label, sequence_number
    FROM told
    GROUP BY ALL
    HAVING count(*) > 1 AND count(DISTINCT (op, changed_at_ms, old_image, new_image)) > 1
)
SELECT item_key, stream_label, sequence_number, op, changed_at_ms, old_image, new_image, told_by
FROM told
JOIN differing USING (item_key, stream_label, sequence_number)
ORDER BY item_key, stream_label, sequence_number, row_id
