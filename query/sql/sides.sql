-- The facts on both sides of the instant, of whatever kind: P at or before it, N after it (docs/answers.md, State).
CREATE TEMP TABLE sides AS
WITH floor_items AS (SELECT item_key, true AS is_in_floor FROM floor),
ceiling_items AS (SELECT item_key, true AS is_in_ceiling FROM ceiling),
-- An item asked for by key has an answer even if nothing tells of it: a complete baseline shows that it was absent.
asked_items AS (SELECT unnest(coalesce(getvariable('item_keys'), []::VARCHAR[])) AS item_key),
parsed AS (
    SELECT
        item_key,
        split_part(p, ' ', 1) AS p_label,
        split_part(p, ' ', 3)::BIGINT - 1000000000000000000 AS p_row,
        2000000000000000000 - split_part(p_mirror, ' ', 3)::BIGINT <> p_row AS is_p_tied,
        -- A change of a later table says nothing of this one: its end, in between, has no before.
        CASE WHEN split_part(n, ' ', 1) < getvariable('next_table_label') THEN n END AS n_here,
        split_part(n_here, ' ', 1) AS n_label,
        split_part(n_here, ' ', 3)::BIGINT - 1000000000000000000 AS n_row,
        split_part(n_here, ' ', 4)::BIGINT AS n_ms,
        2000000000000000000 - split_part(n_mirror, ' ', 3)::BIGINT <> n_row AS is_n_tied,
        p_effective_ms,
        -- A cut is made in order, a baseline in time: a change after the cut may be older than the baseline.
        CASE WHEN n IS NOT NULL THEN greatest(p_effective_ms, split_part(n, ' ', 4)::BIGINT) END AS first_after_ms,
        was_in_former_table,
        is_floor_void,
        is_ceiling_void
    FROM facts
),
joined AS (
    SELECT
        parsed.* EXCLUDE (item_key, was_in_former_table),
        coalesce(parsed.item_key, floor_items.item_key, ceiling_items.item_key, asked_items.item_key) AS item_key,
        coalesce(is_in_floor, false) AS is_in_floor,
        coalesce(is_in_ceiling, false) AS is_in_ceiling,
        coalesce(was_in_former_table, false)
            OR (coalesce(is_in_floor, false) AND getvariable('is_floor_of_former_table')) AS was_in_former_table,
        getvariable('has_floor') AND NOT coalesce(is_floor_void, false)
            AND (first_after_ms IS NULL OR first_after_ms > getvariable('floor_to_ms')) AS is_floor_past,
        is_floor_past AND NOT getvariable('is_floor_of_former_table')
            AND (p_row IS NULL OR p_effective_ms < getvariable('floor_from_ms')) AS is_floor_p,
        getvariable('has_ceiling') AND NOT coalesce(is_ceiling_void, false)
            AND (n_row IS NULL OR n_ms > getvariable('ceiling_to_ms')) AS is_ceiling_n
    FROM parsed
    FULL OUTER JOIN floor_items USING (item_key)
    FULL OUTER JOIN ceiling_items USING (item_key)
    FULL OUTER JOIN asked_items USING (item_key)
)
SELECT
    item_key,
    is_in_floor,
    is_in_ceiling,
    p_row,
    n_row,
    p_effective_ms,
    p_row IS NOT NULL AND is_p_tied AS is_p_tied,
    n_row IS NOT NULL AND is_n_tied AS is_n_tied,
    p_row IS NOT NULL OR was_in_former_table OR (is_in_floor AND is_floor_past) AS was_before,
    CASE WHEN is_floor_p THEN 'baseline' WHEN p_row IS NOT NULL THEN 'change' WHEN was_in_former_table THEN 'end' END
        AS p_kind,
    CASE p_kind
        WHEN 'baseline' THEN getvariable('floor_label')
        WHEN 'change' THEN p_label
        WHEN 'end' THEN getvariable('table_label')
    END AS p_label,
    CASE WHEN is_ceiling_n THEN 'baseline' WHEN n_row IS NOT NULL THEN 'change' END AS n_kind,
    CASE n_kind WHEN 'baseline' THEN getvariable('ceiling_label') WHEN 'change' THEN n_label END AS n_label
FROM joined
