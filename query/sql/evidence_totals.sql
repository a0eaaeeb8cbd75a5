-- How many changes and items the records of a package hold, how many are not sealed, and of how many nobody is named.
SELECT
    count(*),
    count(DISTINCT item_key),
    count(*) FILTER (WHERE is_sealed IS DISTINCT FROM true),
    count(*) FILTER (WHERE actor IS NULL),
    count(*) FILTER (WHERE changes IS NULL)
FROM read_parquet(getvariable('evidence_file'))
