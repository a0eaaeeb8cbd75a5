-- Changes by attribute of top level; NULL counts those that do not tell what they changed.
SELECT name, sum(changes)::BIGINT
FROM (
    SELECT unnest(coalesce(changed_attributes, [NULL])) AS name, changes
    FROM (SELECT changed_attributes, count(*) AS changes FROM stat_counted GROUP BY changed_attributes)
)
GROUP BY name
ORDER BY ALL
