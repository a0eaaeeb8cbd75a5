-- For each generation of the stream: its first and last change, and its longest file.
SELECT stream_label, min(changed_at_ms), max(changed_at_ms), max(row_id & 4294967295) + 1
FROM changes
WHERE told_by >= 0
GROUP BY stream_label
ORDER BY 1
