-- Changes in a half-open range of creation times, each once, newest first unless $is_reversed.
WITH once AS (
    SELECT item_key, ord, min(row_id) AS row_id
    FROM changes
    WHERE
        changed_at_ms >= $since_ms
        AND changed_at_ms < $until_ms
        AND ($ops IS NULL OR list_contains($ops, op))
        AND NOT list_contains($conflicting, item_key)
    GROUP BY item_key, ord
),
chosen AS (
    SELECT row_id
    FROM once
    ORDER BY
        CASE WHEN $is_reversed THEN ord END ASC NULLS LAST,
        CASE WHEN NOT $is_reversed THEN ord END DESC NULLS LAST,
        item_key
    LIMIT $most
)
SELECT
    change_id, op, changed_at_ms, sequence_number, stream_label, item_key, pk, sk, old_image, new_image,
    user_identity, event, told_by
FROM changes
JOIN chosen USING (row_id)
ORDER BY
    CASE WHEN $is_reversed THEN ord END ASC NULLS LAST,
    CASE WHEN NOT $is_reversed THEN ord END DESC NULLS LAST,
    item_key
