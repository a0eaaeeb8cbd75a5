-- The segments beside the runs: their first and last change in order, the earliest and latest in time, and their streams.
SELECT min(ord), max(ord), min(changed_at_ms), max(changed_at_ms), coalesce(list(DISTINCT stream_label), [])
FROM changes
