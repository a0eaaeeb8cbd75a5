-- What the first change after the instant says of the moment before it, where it has to be asked: nothing before answers.
CREATE OR REPLACE TEMP TABLE n_rows AS
WITH wanted AS (
    SELECT n_row
    FROM sides
    LEFT JOIN p_rows USING (p_row)
    WHERE
        n_kind = 'change'
        AND (
            p_kind IS NULL
            OR p_kind = 'end'
            OR getvariable('moment').covering_label IS NULL
            OR p_label IS DISTINCT FROM getvariable('moment').covering_label
            OR (p_kind = 'change' AND p_op <> 'REMOVE' AND NOT has_p_image)
        )
)
SELECT row_id AS n_row, op AS n_op, old_image AS n_image, old_image IS NOT NULL AS has_n_image
FROM winners
JOIN wanted ON row_id = n_row
