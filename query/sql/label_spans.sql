-- For each generation of the stream: its first and last change, and how many rows tell of it.
SELECT stream_label, min(changed_at_ms), max(changed_at_ms), count(*) FROM changes GROUP BY stream_label ORDER BY 1
