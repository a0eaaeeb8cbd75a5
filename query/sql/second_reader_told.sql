-- The disagreements that somebody has to look at, worst first.
SELECT *
FROM disagreements
WHERE kind <> 'in-flight'
ORDER BY
    CASE kind WHEN 'different' THEN 0 WHEN 'invented' THEN 1 ELSE 2 END,
    changed_at_ms, sequence_number, item_key, segment
LIMIT $most
