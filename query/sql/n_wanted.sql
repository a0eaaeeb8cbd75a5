-- Where the first change after the instant has to be asked: nothing before it answers.
CREATE TEMP TABLE n_wanted AS
SELECT n_row
FROM sides
LEFT JOIN p_rows USING (p_row)
WHERE
    n_kind = 'change'
    AND (
        p_kind IS NULL
        OR p_kind = 'end'
        OR p_label IS DISTINCT FROM getvariable('covering_label')
        OR (p_kind = 'change' AND p_op <> 'REMOVE' AND p_image IS NULL)
    )
