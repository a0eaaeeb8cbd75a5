-- What the first change after the instant says of the moment before it.
CREATE TEMP TABLE n_rows AS
SELECT row_id AS n_row, op AS n_op, old_image AS n_image FROM changes JOIN n_wanted ON row_id = n_row
