SELECT
    count(*) FILTER (rule IN ('n', 'p', 'both') AND image IS NOT NULL),
    count(*) FILTER (rule IN ('unknown', 'compare'))
FROM states
