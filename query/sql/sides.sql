-- The facts on both sides of the instant, of whatever kind: P at or before it, N after it (docs/answers.md, State).
CREATE OR REPLACE TEMP TABLE sides AS
WITH floor_items AS (SELECT item_key, true AS is_in_floor FROM floor),
ceiling_items AS (SELECT item_key, true AS is_in_ceiling FROM ceiling),
-- An item asked for by key has an answer even if nothing tells of it: a complete baseline shows that it was absent.
asked_items AS (SELECT unnest(getvariable('moment').item_keys::VARCHAR[]) AS item_key),
-- A change of a later table says nothing of this one: its end, in between, has no before. But only what has a fact in
-- this table or a former one meets that end.
changed AS (
    SELECT
        * EXCLUDE (n_row, n_label, n_ms, is_n_tied),
        n_label < getvariable('moment').next_table_label
            OR (
                is_of_later_table_only
                AND NOT (getvariable('floor').is_there AND NOT is_floor_void)
                AND NOT (getvariable('ceiling').is_there AND NOT is_ceiling_void)
            ) AS is_n_here,
        CASE WHEN is_n_here THEN n_row END AS n_row,
        CASE WHEN is_n_here THEN n_label END AS n_label,
        CASE WHEN is_n_here THEN n_ms END AS n_ms,
        is_n_tied AND is_n_here AS is_n_tied,
        -- A cut is made in order, a baseline in time: a change after the cut may be older than the baseline.
        CASE WHEN facts.n_row IS NOT NULL THEN greatest(p_effective_ms, facts.n_ms) END AS first_after_ms
    FROM facts
),
joined AS (
    SELECT
        changed.* EXCLUDE (item_key, was_in_former_table),
        coalesce(changed.item_key, floor_items.item_key, ceiling_items.item_key, asked_items.item_key) AS item_key,
        coalesce(is_in_floor, false) AS is_in_floor,
        coalesce(is_in_ceiling, false) AS is_in_ceiling,
        coalesce(was_in_former_table, false)
            OR (coalesce(is_in_floor, false) AND getvariable('moment').is_floor_of_former_table) AS was_in_former_table,
        getvariable('floor').is_there AND NOT coalesce(is_floor_void, false)
            AND (first_after_ms IS NULL OR first_after_ms > getvariable('floor').to_ms) AS is_floor_past,
        is_floor_past AND NOT getvariable('moment').is_floor_of_former_table
            AND (p_row IS NULL OR p_effective_ms < getvariable('floor').from_ms) AS is_floor_p,
        getvariable('ceiling').is_there AND NOT coalesce(is_ceiling_void, false)
            AND (n_row IS NULL OR n_ms > getvariable('ceiling').to_ms) AS is_ceiling_n
    FROM changed
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
    coalesce(is_p_tied, false) AS is_p_tied,
    coalesce(is_n_tied, false) AS is_n_tied,
    p_row IS NOT NULL OR was_in_former_table OR (is_in_floor AND is_floor_past) AS was_before,
    CASE WHEN is_floor_p THEN 'baseline' WHEN p_row IS NOT NULL THEN 'change' WHEN was_in_former_table THEN 'end' END
        AS p_kind,
    CASE p_kind
        WHEN 'baseline' THEN getvariable('floor').label
        WHEN 'change' THEN p_label
        WHEN 'end' THEN getvariable('moment').table_label
    END AS p_label,
    CASE WHEN is_ceiling_n THEN 'baseline' WHEN n_row IS NOT NULL THEN 'change' END AS n_kind,
    CASE n_kind WHEN 'baseline' THEN getvariable('ceiling').label WHEN 'change' THEN n_label END AS n_label
FROM joined
