-- Changes by operation, by actor (or why there is none) and by attribute, the most frequent first.
WITH records AS (SELECT * FROM read_parquet(getvariable('evidence_file')))
SELECT 'operation' AS kind, op AS name, count(*) AS changes
FROM records
GROUP BY op
UNION ALL
SELECT 'actor', coalesce(actor, '(' || actor_reason || ')'), count(*)
FROM records
GROUP BY actor, actor_reason
UNION ALL
SELECT 'attribute', name, count(*)
FROM (SELECT unnest(from_json(changed_attributes, '["VARCHAR"]')) AS name FROM records)
GROUP BY name
ORDER BY kind, changes DESC, name
