-- The items that a complete baseline shows, as facts among the changes.
INSERT INTO chain
SELECT
    md5_number(item_key), NULL, NULL, NULL, $number, $from_ms, $from_ms, $table_number, hash(image), hash(image)
FROM floor
