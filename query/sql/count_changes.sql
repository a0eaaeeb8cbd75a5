-- Distinct changes and items.
SELECT
    (SELECT count(*) FROM (SELECT DISTINCT stream_label, sequence_number, item_key FROM changes)),
    count(DISTINCT item_key)
FROM changes
