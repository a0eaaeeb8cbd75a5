-- Changes by hour: epoch ms of its begin, and how many.
SELECT epoch_ms(changed_at) // 3600000 * 3600000 AS hour_ms, count(*)
FROM read_parquet(getvariable('evidence_file'))
GROUP BY hour_ms
ORDER BY hour_ms
