-- How many changes of each of some items a half-open range of creation times holds, each once, whatever else is asked.
SELECT
    item_key,
    count(DISTINCT ord)
FROM changes
WHERE
    changed_at_ms >= $since_ms
    AND changed_at_ms < $until_ms
    AND item_key IN (SELECT unnest($item_keys::VARCHAR[]))
GROUP BY item_key
