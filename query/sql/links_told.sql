-- How many links there are, how many can be compared, how many seem broken; and whether rows contradict each other.
SELECT
    count(*) FILTER (NOT is_contradiction),
    count(*) FILTER (NOT is_contradiction AND is_comparable),
    count(*) FILTER (is_suspect),
    coalesce(bool_or(is_contradiction), false)
FROM links
