-- The items that a complete baseline shows, as facts among the changes.
INSERT INTO chain
SELECT
    item_key, '' AS ord, NULL AS row_id, $number AS baseline, $from_ms AS changed_at_ms, $from_ms AS effective_ms,
    $table_number AS table_number, md5_number(image) AS before, md5_number(image) AS after
FROM floor
