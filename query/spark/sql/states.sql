-- The state of every item, by the first rule that knows it (docs/answers.md, State). Two images on both sides of a gap are
-- compared as values where they differ as text. An item whose answer would rest on a change in conflict is one too.
WITH labelled AS (
    SELECT
        *,
        CASE p_kind WHEN 'baseline' THEN :floor_label WHEN 'change' THEN p.stream_label WHEN 'end' THEN :table_label END
            AS p_label,
        CASE n_kind WHEN 'baseline' THEN :ceiling_label WHEN 'change' THEN n.stream_label END AS n_label,
        CASE p_kind WHEN 'baseline' THEN floor_image WHEN 'change' THEN CASE WHEN p.op <> 'REMOVE' THEN p.new_image END
        END AS p_image,
        CASE n_kind WHEN 'baseline' THEN ceiling_image WHEN 'change' THEN CASE WHEN n.op <> 'INSERT' THEN n.old_image END
        END AS n_image
    FROM sides
),
known AS (
    SELECT
        *,
        coalesce(p_kind IN ('end', 'baseline') OR p.op = 'REMOVE' OR p_image IS NOT NULL, false) AS is_p_known,
        coalesce(n_kind = 'baseline' OR n.op = 'INSERT' OR n_image IS NOT NULL, false) AS is_n_known,
        coalesce(p_label = :covering_label, false) AS is_p_covered,
        coalesce(n_label = :covering_label, false) AS is_n_covered
    FROM labelled
),
ruled AS (
    SELECT
        *,
        CASE
            WHEN p_kind = 'end' AND is_n_covered AND is_n_known THEN 'n'
            WHEN is_p_covered AND is_p_known THEN 'p'
            WHEN is_n_covered AND is_n_known THEN 'n'
            WHEN is_p_known AND is_n_known AND p_image IS NULL AND n_image IS NULL THEN 'both'
            WHEN is_p_known AND is_n_known AND p_image = n_image THEN 'both'
            WHEN is_p_known AND is_n_known AND p_image IS NOT NULL AND n_image IS NOT NULL THEN 'compare'
            ELSE 'unknown'
        END AS rule_as_text,
        coalesce(p.is_contradicted, false)
            OR coalesce(
                n_kind = 'change'
                AND n.is_contradicted
                AND (
                    p_kind IS NULL
                    OR p_kind = 'end'
                    OR :covering_label IS NULL
                    OR NOT p_label <=> :covering_label
                    OR NOT is_p_known
                ),
                false
            ) AS is_in_conflict
    FROM known
),
compared AS (
    SELECT
        *,
        CASE
            WHEN rule_as_text <> 'compare' THEN rule_as_text
            WHEN agree(
                CASE WHEN rule_as_text = 'compare' THEN p_image END, CASE WHEN rule_as_text = 'compare' THEN n_image END
            ) THEN 'both'
            ELSE 'unknown'
        END AS rule
    FROM ruled
),
settled AS (
    SELECT
        *,
        CASE WHEN rule = 'n' OR (rule = 'unknown' AND NOT is_p_known) THEN n_image ELSE p_image END AS image_of_side,
        rule IN ('p', 'both') AND p_kind = 'change' AS rests_on_change
    FROM compared
)
SELECT
    item_key,
    CASE
        WHEN is_in_conflict THEN 'conflict'
        WHEN rule = 'unknown' THEN 'unknown'
        WHEN image_of_side IS NOT NULL THEN 'existed'
        WHEN was_before THEN 'already-deleted'
        ELSE 'not-yet-created'
    END AS outcome,
    CASE
        WHEN is_in_conflict THEN 'nothing'
        WHEN rule = 'n' THEN CASE n_kind WHEN 'baseline' THEN 'baseline' ELSE 'old-image' END
        WHEN rule = 'p' THEN CASE p_kind WHEN 'end' THEN 'table-end' ELSE p_kind END
        WHEN rule = 'both' THEN 'agreement'
        WHEN is_p_known OR is_n_known THEN 'guess'
        ELSE 'nothing'
    END AS basis,
    CASE WHEN NOT is_in_conflict THEN image_of_side END AS image,
    CASE
        WHEN is_in_conflict OR rule <> 'unknown' THEN NULL
        WHEN p_kind IS NULL AND n_kind IS NULL THEN 'no-fact'
        WHEN (is_p_covered AND NOT is_p_known) OR (is_n_covered AND NOT is_n_known) THEN 'missing-image'
        WHEN :is_before_coverage THEN 'before-coverage'
        ELSE 'gap'
    END AS reason,
    CASE WHEN rests_on_change AND NOT is_in_conflict THEN p.change_id END AS change_id,
    CASE WHEN rests_on_change AND NOT is_in_conflict THEN p.changed_at END AS changed_at,
    CASE WHEN rests_on_change AND NOT is_in_conflict THEN p.effective_at END AS valid_from,
    NOT is_in_conflict AND rule = 'unknown' AND (is_p_known OR is_n_known) AS is_guess
FROM settled
