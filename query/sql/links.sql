-- Each fact of an item and the one before it: does the later one find what the earlier one left? What a former table left
-- went with it. Also rows that repeat a change and do not say the same (`is_contradiction`), which chain nothing.
CREATE TEMP TABLE links AS
WITH neighbours AS (
    SELECT
        *,
        lag(item_key) OVER item IS NOT NULL AS has_earlier,
        lag(row_id) OVER item AS earlier_row,
        lag(baseline) OVER item AS earlier_baseline,
        CASE WHEN lag(table_number) OVER item < table_number THEN 0::UHUGEINT ELSE lag(after) OVER item END AS left_there,
        lag(table_number) OVER item < table_number AS is_between_tables,
        baseline IS NULL AND earlier_baseline IS NULL AND lag(ord) OVER item = ord AS is_repeat,
        is_repeat
            AND (changed_at_ms, before, after)
                IS DISTINCT FROM (lag(changed_at_ms) OVER item, lag(before) OVER item, lag(after) OVER item)
            AS is_contradiction
    FROM chain
    WINDOW item AS (PARTITION BY item_key ORDER BY table_number, effective_ms, ord, row_id)
)
SELECT
    left_there IS NOT NULL AND before IS NOT NULL AS is_comparable,
    NOT is_contradiction AND coalesce(left_there <> before, false) AS is_suspect,
    is_contradiction,
    CASE WHEN is_suspect THEN item_key END AS item_key,
    earlier_row,
    earlier_baseline,
    row_id AS later_row,
    baseline AS later_baseline,
    is_between_tables,
    left_there = 0 AS is_left_absent,
    before = 0 AS is_found_absent,
    effective_ms
FROM neighbours
WHERE has_earlier AND (NOT is_repeat OR is_contradiction)
