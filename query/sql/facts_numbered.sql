-- The same facts, faster, where order fits a number: one stream label, sequence numbers of at most 27 digits, files and
-- rows within the bits of a place, and an instant rather than a cut. That the sequence numbers fit is told with the facts
-- (`is_beyond_numbers`), not asked before: it would be a scan of its own.
CREATE OR REPLACE TEMP TABLE facts AS
WITH placed AS (
    SELECT
        item_key,
        changed_at_ms,
        effective_ms,
        sequence_number,
        place_of(row_id) AS place,
        changed_at_ms <= getvariable('moment').at_ms AS is_before,
        getvariable('moment').has_later AND changed_at_ms > getvariable('moment').at_ms AS is_after
    FROM candidates
),
found AS (
    SELECT
        item_key,
        max(number_of(sequence_number, place)) FILTER (is_before) AS p,
        max(number_of(sequence_number, mirrored(place))) FILTER (is_before) AS p_mirror,
        min(number_of(sequence_number, place)) FILTER (is_after) AS n,
        min(number_of(sequence_number, mirrored(place))) FILTER (is_after) AS n_mirror,
        max(effective_ms) FILTER (is_before) AS p_effective_ms,
        -- Of all changes after the instant, not of the first in order: both lie on the same side of any baseline.
        min(changed_at_ms) FILTER (is_after) AS n_ms,
        bool_or(changed_at_ms BETWEEN getvariable('floor').void_from_ms AND getvariable('floor').void_to_ms) AS is_floor_void,
        bool_or(sequence_number >= '0000000000001') AS is_beyond_numbers
    FROM placed
    GROUP BY item_key
)
SELECT
    item_key,
    row_in(p) AS p_row,
    CASE WHEN p IS NOT NULL THEN getvariable('moment').only_label END AS p_label,
    coalesce(place_in(p) <> mirrored(place_in(p_mirror)), false) AS is_p_tied,
    row_in(n) AS n_row,
    CASE WHEN n IS NOT NULL THEN getvariable('moment').only_label END AS n_label,
    coalesce(place_in(n) <> mirrored(place_in(n_mirror)), false) AS is_n_tied,
    n_ms,
    p_effective_ms,
    false AS was_in_former_table,
    false AS is_of_later_table_only,
    coalesce(is_floor_void, false) AS is_floor_void,
    false AS is_ceiling_void,
    CASE
        WHEN (n >> 37) <= (p >> 37)
            THEN getvariable('moment').only_label || ' ' || lpad((n >> 37)::VARCHAR, 40, '0')
    END AS stepped_back_at,
    is_beyond_numbers
FROM found
