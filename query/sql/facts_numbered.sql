-- The same facts, three times faster, where order fits a number: one stream label, sequence numbers of at most 27 digits,
-- below 100,000 files of below 1,000,000 rows, and an instant rather than a cut. A number is sequence * 10^11 + place, a
-- place is file * 10^6 + row; only the winners, one a group, are spelled out as packs.
CREATE TEMP TABLE facts AS
WITH numbered AS (
    SELECT
        item_key,
        changed_at_ms,
        right(sequence_number, 27)::HUGEINT * 100000000000::HUGEINT AS number,
        (row_id >> 32) * 1000000 + (row_id & 4294967295) AS place,
        changed_at_ms <= getvariable('at_ms') AS is_before
    FROM changes
),
grouped AS (
    SELECT
        item_key,
        max(number + place) FILTER (is_before) AS p,
        max(number + (99999999999 - place)) FILTER (is_before) AS p_mirror,
        min(number + place) FILTER (NOT is_before) AS n,
        min(number + (99999999999 - place)) FILTER (NOT is_before) AS n_mirror,
        max(changed_at_ms) FILTER (is_before) AS p_effective_ms,
        -- Of all changes after the instant, not of the first in order: both lie on the same side of any baseline.
        min(changed_at_ms) FILTER (NOT is_before) AS n_ms,
        coalesce(bool_or(changed_at_ms BETWEEN getvariable('floor_from_ms') AND getvariable('floor_to_ms')), false)
            AS is_floor_void
    FROM numbered
    GROUP BY item_key
),
placed AS (
    SELECT
        *,
        getvariable('only_label') || ' ' || lpad((p // 100000000000::HUGEINT)::VARCHAR, 40, '0') AS p_ord,
        (p % 100000000000::HUGEINT)::BIGINT AS p_place,
        99999999999 - (p_mirror % 100000000000::HUGEINT)::BIGINT AS p_mirror_place,
        getvariable('only_label') || ' ' || lpad((n // 100000000000::HUGEINT)::VARCHAR, 40, '0') AS n_ord,
        (n % 100000000000::HUGEINT)::BIGINT AS n_place,
        99999999999 - (n_mirror % 100000000000::HUGEINT)::BIGINT AS n_mirror_place
    FROM grouped
)
SELECT
    item_key,
    p_ord || ' ' || (1000000000000000000 + (((p_place // 1000000) << 32) | (p_place % 1000000))) || ' ' || p_effective_ms
        AS p,
    p_ord || ' ' || (2000000000000000000 - (((p_mirror_place // 1000000) << 32) | (p_mirror_place % 1000000)))
        AS p_mirror,
    n_ord || ' ' || (1000000000000000000 + (((n_place // 1000000) << 32) | (n_place % 1000000))) || ' ' || n_ms AS n,
    n_ord || ' ' || (2000000000000000000 - (((n_mirror_place // 1000000) << 32) | (n_mirror_place % 1000000)))
        AS n_mirror,
    p_effective_ms,
    false AS was_in_former_table,
    is_floor_void,
    false AS is_ceiling_void
FROM placed
