-- Of each stream label the earliest and the latest change, epoch milliseconds.
SELECT stream_label, unix_millis(min(changed_at)) AS first_ms, unix_millis(max(changed_at)) AS last_ms
FROM evidence
GROUP BY stream_label
ORDER BY stream_label
