-- What the last change at or before the instant says, images read late: only of the rows that won.
CREATE OR REPLACE TEMP TABLE p_rows AS
SELECT
    row_id AS p_row,
    op AS p_op,
    changed_at_ms AS p_ms,
    change_id,
    new_image AS p_image,
    new_image IS NOT NULL AS has_p_image
FROM winners
JOIN (SELECT p_row FROM sides WHERE p_kind = 'change') AS won ON row_id = p_row
