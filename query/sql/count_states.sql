SELECT
    count(*) FILTER (rule IN ('n', 'p', 'both') AND image_side IS NOT NULL),
    count(*) FILTER (rule IN ('unknown', 'compare')),
    count(*) FILTER (rule = 'compare')
FROM states
