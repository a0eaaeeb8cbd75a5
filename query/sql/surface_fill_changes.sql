-- Every change of a half-open range of `changed_at` once, numbered in order, with its effective time: the latest
-- changed_at of its item up to it, as far as it was read. Items of which evidence contradicts itself have no row.
WITH once AS (
    SELECT item_key, ord, min(row_id) AS row_id, any_value(changed_at_ms) AS changed_at_ms
    FROM changes
    WHERE NOT list_contains($conflicting, item_key) AND changed_at_ms >= $since_ms AND changed_at_ms < $until_ms
    GROUP BY item_key, ord
),
numbered AS (
    SELECT
        row_id,
        row_number() OVER (ORDER BY ord, item_key) AS number,
        max(changed_at_ms) OVER (PARTITION BY item_key ORDER BY ord) AS effective_ms
    FROM once
)
SELECT
    number, change_id, op, changed_at_ms, numbered.effective_ms, sequence_number, stream_label, item_key, pk, sk,
    old_image, new_image, user_identity, event, told_by
FROM numbered
JOIN changes USING (row_id)
