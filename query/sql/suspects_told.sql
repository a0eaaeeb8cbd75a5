-- Of how many items an older layer has a later change after all (one that arrived late, or a clock that stepped back); of
-- how many a change after the instant stands before one at or before it; and the items of which two tell the same change.
WITH pairs AS (
    SELECT
        item_key,
        older.ord > newer.ord OR older.effective_ms > newer.effective_ms AS is_later,
        older.ord = newer.ord AS is_tied
    FROM told_of_suspects AS newer
    JOIN told_of_suspects AS older USING (item_key)
    WHERE newer.place < older.place
),
ahead AS (
    SELECT item_key, following.ord < one.ord AS is_overtaken, following.ord = one.ord AS is_tied
    FROM following
    JOIN told_of_suspects AS one USING (item_key)
)
SELECT
    (SELECT count(DISTINCT item_key) FROM pairs WHERE is_later),
    (SELECT count(DISTINCT item_key) FROM ahead WHERE is_overtaken),
    (
        SELECT coalesce(list(DISTINCT item_key), [])
        FROM (SELECT item_key, is_tied FROM pairs UNION ALL SELECT item_key, is_tied FROM ahead)
        WHERE is_tied
    )
