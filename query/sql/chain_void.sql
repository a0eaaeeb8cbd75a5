-- A baseline says nothing of an item that changed while it was taken, or so near to it that clocks may disagree on which
-- came first. Of every other item it says something: what it does not show was absent.
CREATE TEMP TABLE spoken_of AS
SELECT item, told.number AS baseline, from_ms, told.table_number, coalesce(bool_or(chain.baseline = told.number), false) AS is_shown
FROM chain
CROSS JOIN (SELECT unnest(getvariable('baselines'), recursive := true)) AS told
GROUP BY ALL
HAVING NOT coalesce(
    bool_or(
        chain.baseline IS NULL
        AND changed_at_ms <= to_ms + getvariable('margin_ms')
        AND effective_ms >= from_ms - getvariable('margin_ms')
    ),
    false
);

DELETE FROM chain
WHERE baseline IS NOT NULL AND (item, baseline) NOT IN (SELECT (item, baseline) FROM spoken_of);

INSERT INTO chain
SELECT item, NULL, NULL, NULL, baseline, from_ms, from_ms, table_number, 0, 0
FROM spoken_of
WHERE NOT is_shown;
