-- No baseline, or one of an empty table.
CREATE TEMP VIEW ceiling AS SELECT '' AS item_key, '' AS pk, '' AS sk, '' AS image WHERE false
