-- Changes by operation, stretch of time ($bucket_ms; its beginning, epoch ms), and whether DynamoDB's TTL made them.
SELECT op, began_ms, is_by_ttl(user_identity) AS is_by_ttl, sum(changes)::BIGINT
FROM (
    SELECT op, changed_at_ms - changed_at_ms % $bucket_ms AS began_ms, user_identity, count(*) AS changes
    FROM stat_counted
    GROUP BY ALL
)
GROUP BY ALL
ORDER BY ALL
