-- Changes of a half-open range of creation times, each once and oldest first; of some items unless $item_keys is NULL.
WITH once AS (
    SELECT min(row_id) AS row_id
    FROM changes
    WHERE
        changed_at_ms >= $since_ms
        AND changed_at_ms < $until_ms
        AND ($ops IS NULL OR list_contains($ops, op))
        AND ($item_keys IS NULL OR item_key IN (SELECT unnest($item_keys::VARCHAR[])))
        AND NOT list_contains($conflicting, item_key)
    GROUP BY item_key, ord
)
SELECT
    change_id, op, changed_at_ms, sequence_number, stream_label, item_key, pk, sk, old_image, new_image,
    user_identity, event, told_by
FROM changes
JOIN once USING (row_id)
ORDER BY ord, item_key
