-- Changes by operation and stretch of time ($bucket_ms; its beginning, epoch ms).
SELECT op, changed_at_ms - changed_at_ms % $bucket_ms AS began_ms, count(*)
FROM stat_counted
GROUP BY ALL
ORDER BY ALL
