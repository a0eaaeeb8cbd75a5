-- Changes by attribute of top level; NULL counts those that do not tell what they changed.
SELECT name, count(*)
FROM (
    SELECT
        unnest(CASE WHEN changed_attributes IS NULL THEN [NULL::VARCHAR] ELSE changed_attributes END) AS name
    FROM stat_counted
)
GROUP BY name
ORDER BY ALL
