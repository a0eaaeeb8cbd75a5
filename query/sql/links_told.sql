-- How many links there are, how many can be compared, how many seem broken; and whether rows contradict each other.
SELECT
    coalesce(sum(links) FILTER (NOT is_contradiction), 0)::BIGINT,
    coalesce(sum(links) FILTER (NOT is_contradiction AND is_comparable), 0)::BIGINT,
    coalesce(sum(links) FILTER (is_suspect), 0)::BIGINT,
    coalesce(bool_or(is_contradiction), false)
FROM links
