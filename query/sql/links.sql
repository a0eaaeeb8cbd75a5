-- Each fact of an item and the one before it: does the later one find what the earlier one left? What a former table left
-- went with it. Also rows that repeat a change and do not say the same (`is_contradiction`), which chain nothing. Links that
-- hold are only counted.
CREATE TEMP TABLE links AS
WITH neighbours AS (
    SELECT
        *,
        lag(item) OVER one IS NOT NULL AS has_earlier,
        lag(row_id) OVER one AS earlier_row,
        lag(baseline) OVER one AS earlier_baseline,
        coalesce(lag(table_number) OVER one < table_number, false) AS is_between_tables,
        CASE WHEN is_between_tables THEN 0 ELSE lag(after) OVER one END AS left_there,
        baseline IS NULL AND earlier_baseline IS NULL
            AND lag(number) OVER one = number AND lag(label) OVER one = label AS is_repeat,
        is_repeat
            AND (changed_at_ms, before, after)
                IS DISTINCT FROM (lag(changed_at_ms) OVER one, lag(before) OVER one, lag(after) OVER one)
            AS is_contradiction
    FROM chain
    WINDOW one AS (
        PARTITION BY item ORDER BY table_number, effective_ms, label NULLS FIRST, number NULLS FIRST, row_id NULLS FIRST
    )
),
compared AS (
    SELECT
        *,
        left_there IS NOT NULL AND before IS NOT NULL AS is_comparable,
        NOT is_contradiction AND coalesce(left_there <> before, false) AS is_suspect
    FROM neighbours
    WHERE has_earlier AND (NOT is_repeat OR is_contradiction)
)
SELECT
    is_comparable,
    is_suspect,
    is_contradiction,
    CASE WHEN is_suspect THEN item END AS item,
    CASE WHEN is_suspect THEN earlier_row END AS earlier_row,
    CASE WHEN is_suspect THEN earlier_baseline END AS earlier_baseline,
    CASE WHEN is_suspect THEN row_id END AS later_row,
    CASE WHEN is_suspect THEN baseline END AS later_baseline,
    is_suspect AND is_between_tables AS is_between_tables,
    is_suspect AND left_there = 0 AS is_left_absent,
    is_suspect AND before = 0 AS is_found_absent,
    CASE WHEN is_suspect THEN changed_at_ms END AS changed_at_ms,
    count(*) AS links
FROM compared
GROUP BY ALL
