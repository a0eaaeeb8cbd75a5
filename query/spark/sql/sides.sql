-- The facts on both sides of an instant, of each item that any fact tells of: P at or before it, N after it
-- (docs/answers.md, State). `table_label` and `next_table_label` are the first labels of the table that the instant
-- belongs to and of the next one; a baseline is there unless its ends are NULL.
WITH placed AS (
    SELECT
        *,
        unix_millis(changed_at) AS changed_ms,
        unix_millis(effective_at) AS effective_ms,
        effective_at <= timestamp_millis(:at_ms) AS is_past,
        stream_label >= :table_label AS is_of_table,
        struct(stream_label, sequence_number) AS place
    FROM versions
),
facts AS (
    SELECT
        item_key,
        max_by(
            struct(stream_label, op, changed_at, change_id, new_image, effective_at, effective_ms, is_contradicted), place
        ) FILTER (WHERE is_past AND is_of_table) AS p,
        min_by(struct(stream_label, op, old_image, effective_ms, is_contradicted), place)
            FILTER (WHERE NOT is_past AND is_of_table) AS first_after,
        max(NOT is_of_table) AS was_in_former_table,
        min(stream_label >= :next_table_label) AS is_of_later_table_only,
        coalesce(max(changed_ms BETWEEN :floor_from_ms AND :floor_to_ms), false) AS is_floor_void,
        coalesce(max(changed_ms BETWEEN :ceiling_from_ms AND :ceiling_to_ms), false) AS is_ceiling_void
    FROM placed
    GROUP BY item_key
),
-- A change of a later table says nothing of this one: its end, in between, has no before. But only what has a fact in
-- this table or a former one meets that end.
changed AS (
    SELECT
        *,
        CASE
            WHEN first_after.stream_label < :next_table_label
                OR (
                    is_of_later_table_only
                    AND NOT (:floor_from_ms IS NOT NULL AND NOT is_floor_void)
                    AND NOT (:ceiling_from_ms IS NOT NULL AND NOT is_ceiling_void)
                )
                THEN first_after
        END AS n
    FROM facts
),
joined AS (
    SELECT
        coalesce(changed.item_key, floor.item_key, ceiling.item_key) AS item_key,
        p,
        n,
        floor.item_key IS NOT NULL AS is_in_floor,
        ceiling.item_key IS NOT NULL AS is_in_ceiling,
        floor.image AS floor_image,
        ceiling.image AS ceiling_image,
        coalesce(was_in_former_table, false) OR (floor.item_key IS NOT NULL AND :is_floor_of_former_table)
            AS was_in_former_table,
        :floor_from_ms IS NOT NULL AND NOT coalesce(is_floor_void, false)
            AND (first_after IS NULL OR first_after.effective_ms > :floor_to_ms) AS is_floor_past,
        :ceiling_from_ms IS NOT NULL AND NOT coalesce(is_ceiling_void, false)
            AND (n IS NULL OR n.effective_ms > :ceiling_to_ms) AS is_ceiling_n
    FROM changed
    FULL OUTER JOIN floor ON floor.item_key = changed.item_key
    FULL OUTER JOIN ceiling ON ceiling.item_key = coalesce(changed.item_key, floor.item_key)
)
SELECT
    *,
    p IS NOT NULL OR was_in_former_table OR (is_in_floor AND is_floor_past) AS was_before,
    CASE
        WHEN is_floor_past AND NOT :is_floor_of_former_table AND (p IS NULL OR p.effective_ms < :floor_from_ms)
            THEN 'baseline'
        WHEN p IS NOT NULL THEN 'change'
        WHEN was_in_former_table THEN 'end'
    END AS p_kind,
    CASE WHEN is_ceiling_n THEN 'baseline' WHEN n IS NOT NULL THEN 'change' END AS n_kind
FROM joined
