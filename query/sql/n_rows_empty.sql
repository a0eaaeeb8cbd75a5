CREATE OR REPLACE TEMP TABLE n_rows AS SELECT 0::BIGINT AS n_row, '' AS n_op, '' AS n_image, false AS has_n_image WHERE false
