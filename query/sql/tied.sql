-- Changes that several rows tell of, where an answer rests on them and the rows differ as text.
WITH places AS (
    SELECT item_key, p_row AS tied_row FROM sides WHERE is_p_tied
    UNION
    SELECT item_key, n_row AS tied_row FROM sides WHERE is_n_tied AND n_row IN (SELECT n_row FROM n_rows)
),
tied AS (SELECT changes.item_key, ord FROM changes JOIN places ON row_id = tied_row),
rows AS (SELECT changes.* FROM changes JOIN tied USING (item_key, ord)),
differing AS (
    SELECT item_key, ord
    FROM rows
    GROUP BY item_key, ord
    HAVING count(DISTINCT (op, changed_at_ms, old_image, new_image)) > 1
)
SELECT
    item_key, stream_label, sequence_number, op, changed_at_ms, old_image, new_image, told_by
FROM rows
JOIN differing USING (item_key, ord)
ORDER BY item_key, ord, row_id
