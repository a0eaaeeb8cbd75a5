-- The same facts when no change is after the instant, no table ended and no baseline is asked: one pass, two aggregates.
CREATE TEMP TABLE facts AS
SELECT
    item_key,
    max(ord || ' ' || (1000000000000000000 + row_id) || ' ' || changed_at_ms) AS p,
    max(ord || ' ' || (2000000000000000000 - row_id)) AS p_mirror,
    NULL::VARCHAR AS n,
    NULL::VARCHAR AS n_mirror,
    max(changed_at_ms) AS p_effective_ms,
    false AS was_in_former_table,
    false AS is_floor_void,
    false AS is_ceiling_void
FROM changes
GROUP BY item_key
