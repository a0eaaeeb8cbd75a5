-- No baseline, or one of an empty table.
CREATE OR REPLACE TEMP VIEW ceiling AS SELECT '' AS item_key, '' AS pk, '' AS sk, '' AS image WHERE false
