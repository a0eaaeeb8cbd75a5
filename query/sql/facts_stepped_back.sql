-- The facts of those items whose clock stepped back across the instant, once more. Effective time never steps back, so
-- everything from the first change after the instant on is after it.
CREATE OR REPLACE TEMP TABLE mended AS
WITH placed AS (
    SELECT
        item_key,
        changed_at_ms,
        pack_of(ord, row_id, changed_at_ms) AS pack,
        mirror_of(ord, row_id) AS mirror,
        ord < stepped_back_at AS is_before,
        stream_label >= getvariable('moment').table_label AS is_of_table
    FROM changes
    JOIN (SELECT item_key, stepped_back_at FROM facts WHERE stepped_back_at IS NOT NULL) USING (item_key)
)
SELECT
    item_key,
    max(pack) FILTER (is_before AND is_of_table) AS p,
    max(mirror) FILTER (is_before AND is_of_table) AS p_mirror,
    min(pack) FILTER (NOT is_before AND is_of_table) AS n,
    min(mirror) FILTER (NOT is_before AND is_of_table) AS n_mirror,
    max(changed_at_ms) FILTER (is_before) AS p_effective_ms
FROM placed
GROUP BY item_key
