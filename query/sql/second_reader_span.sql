-- How many records the stream held, and their first and last creation time.
SELECT count(*), min(changed_at_ms), max(changed_at_ms) FROM (SELECT DISTINCT * FROM streamed)
