-- Changes that no row tells of but those of segments that have just arrived ($fresh, by number), each once, in order.
WITH told AS (
    SELECT item_key, ord, min(row_id) AS row_id
    FROM changes
    WHERE NOT list_contains($conflicting, item_key)
    GROUP BY item_key, ord
    HAVING bool_and(list_contains($fresh, told_by))
)
SELECT
    change_id, op, changed_at_ms, sequence_number, stream_label, changes.item_key, pk, sk, old_image, new_image,
    user_identity, event, told_by
FROM changes
JOIN told USING (row_id)
ORDER BY changes.ord, changes.item_key
