-- The facts of those items once more, cut at the first change after the instant.
CREATE TEMP TABLE mended AS
WITH packed AS (
    SELECT
        item_key,
        ord,
        changed_at_ms,
        first_after,
        ord || ' ' || (1000000000000000000 + row_id) || ' ' || changed_at_ms AS pack,
        ord || ' ' || (2000000000000000000 - row_id) AS mirror,
        stream_label >= getvariable('table_label') AS is_of_table
    FROM changes
    JOIN stepped_back USING (item_key)
)
SELECT
    item_key,
    max(pack) FILTER (ord < first_after AND is_of_table) AS p,
    max(mirror) FILTER (ord < first_after AND is_of_table) AS p_mirror,
    min(pack) FILTER (ord >= first_after AND is_of_table) AS n,
    min(mirror) FILTER (ord >= first_after AND is_of_table) AS n_mirror,
    max(changed_at_ms) FILTER (ord < first_after) AS p_effective_ms
FROM packed
GROUP BY item_key
