-- Of the segments beside the runs: changes after the instant, changes that several rows tell differently, and images
-- that were not carried.
SELECT
    (SELECT count(*) FROM changes WHERE changed_at_ms > $at_ms),
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM changes
            GROUP BY item_key, ord
            HAVING count(*) > 1 AND count(DISTINCT (op, changed_at_ms, old_image, new_image)) > 1
        )
    ),
    (SELECT count(*) FROM changes WHERE new_image IS NULL AND op <> 'REMOVE')
