-- What the trail says of each item beside what the table holds. Images are kept only where they differ as text: whether
-- they are the same value is not for SQL. Items that nobody compares have a verdict of their own, by the first that holds.
CREATE TEMP TABLE reconciled AS
WITH told AS (
    -- An item that was asked for by its key has a row also where the trail knows nothing of it.
    SELECT item_key, rule, image, change_id, changed_at_ms FROM answers WHERE reason IS DISTINCT FROM 'no-fact'
),
shown AS (
    SELECT item_key, image FROM live
),
ruled AS (
    SELECT
        coalesce(told.item_key, shown.item_key) AS item_key,
        told.change_id,
        told.changed_at_ms,
        told.image AS told_image,
        shown.image AS shown_image,
        told.item_key IS NOT NULL AS is_told,
        coalesce(told.rule NOT IN ('n', 'p', 'both'), false) AS is_untold
    FROM told
    FULL JOIN shown ON shown.item_key = told.item_key
),
judged AS (
    SELECT
        *,
        CASE
            WHEN item_key IN (SELECT item_key FROM touched) THEN 'touched'
            WHEN list_contains(getvariable('reconcile').conflicting::VARCHAR[], item_key) THEN 'conflict'
            WHEN is_untold OR (NOT is_told AND NOT getvariable('reconcile').is_complete) THEN 'unknown'
            WHEN told_image IS NULL AND shown_image IS NULL THEN 'absent'
            WHEN told_image IS NULL THEN 'missing-in-archive'
            WHEN shown_image IS NULL THEN 'not-in-table'
            WHEN told_image = shown_image THEN 'same'
            ELSE 'differs'
        END AS verdict
    FROM ruled
)
SELECT
    verdict,
    verdict IN ('missing-in-archive', 'not-in-table', 'differs') AS is_reported,
    CASE WHEN is_reported THEN item_key END AS item_key,
    CASE WHEN is_reported THEN change_id END AS change_id,
    CASE WHEN is_reported THEN changed_at_ms END AS changed_at_ms,
    CASE WHEN verdict = 'differs' THEN told_image END AS told_image,
    CASE WHEN verdict = 'differs' THEN shown_image END AS shown_image
FROM judged
