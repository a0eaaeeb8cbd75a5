-- Of each stream label the earliest and the latest change, how many rows tell of its changes, its ends in order, and how
-- many rows do not say their key text.
SELECT
    stream_label,
    unix_millis(min(changed_at)) AS first_ms,
    unix_millis(max(changed_at)) AS last_ms,
    count(*) AS rows,
    min(sequence_number) AS first_sequence,
    max(sequence_number) AS last_sequence,
    count_if(pk IS NULL) AS without_pk
FROM unordered
GROUP BY stream_label
ORDER BY stream_label
