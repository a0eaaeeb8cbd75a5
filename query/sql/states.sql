-- The state of every item, by the first rule that knows it (docs/answers.md, State). `needs_comparison` marks facts on
-- both sides of a gap that differ as text: whether they are the same value is not for SQL to say.
CREATE TEMP TABLE states AS
WITH known AS (
    SELECT
        sides.*,
        change_id,
        p_ms,
        CASE p_kind
            WHEN 'end' THEN true
            WHEN 'baseline' THEN true
            WHEN 'change' THEN p_op = 'REMOVE' OR p_image IS NOT NULL
            ELSE false
        END AS is_p_known,
        CASE p_kind WHEN 'baseline' THEN floor.image WHEN 'change' THEN CASE WHEN p_op <> 'REMOVE' THEN p_image END END
            AS p_image,
        CASE n_kind WHEN 'baseline' THEN true WHEN 'change' THEN n_op = 'INSERT' OR n_image IS NOT NULL ELSE false END
            AS is_n_known,
        CASE n_kind
            WHEN 'baseline' THEN ceiling.image WHEN 'change' THEN CASE WHEN n_op <> 'INSERT' THEN n_image END
        END AS n_image,
        coalesce(p_label = getvariable('covering_label'), false) AS is_p_covered,
        coalesce(n_label = getvariable('covering_label'), false) AS is_n_covered
    FROM sides
    LEFT JOIN p_rows USING (p_row)
    LEFT JOIN n_rows USING (n_row)
    LEFT JOIN floor ON p_kind = 'baseline' AND floor.item_key = sides.item_key
    LEFT JOIN ceiling ON n_kind = 'baseline' AND ceiling.item_key = sides.item_key
),
ruled AS (
    SELECT
        *,
        CASE
            WHEN p_kind = 'end' AND is_n_covered AND is_n_known THEN 'n'
            WHEN is_p_covered AND is_p_known THEN 'p'
            WHEN is_n_covered AND is_n_known THEN 'n'
            WHEN is_p_known AND is_n_known AND p_image IS NOT DISTINCT FROM n_image THEN 'both'
            WHEN is_p_known AND is_n_known AND p_image IS NOT NULL AND n_image IS NOT NULL THEN 'compare'
            ELSE 'unknown'
        END AS rule
    FROM known
)
SELECT
    item_key,
    rule,
    CASE WHEN rule = 'n' THEN n_image ELSE p_image END AS image,
    n_image,
    is_p_known,
    is_n_known,
    was_before,
    CASE rule
        WHEN 'n' THEN CASE n_kind WHEN 'baseline' THEN 'baseline' ELSE 'old-image' END
        WHEN 'p' THEN CASE p_kind WHEN 'end' THEN 'table-end' ELSE p_kind END
        WHEN 'both' THEN 'agreement'
        ELSE 'nothing'
    END AS basis,
    CASE
        WHEN rule NOT IN ('unknown', 'compare') THEN NULL
        WHEN p_kind IS NULL AND n_kind IS NULL THEN 'no-fact'
        WHEN (is_p_covered AND NOT is_p_known) OR (is_n_covered AND NOT is_n_known) THEN 'missing-image'
        WHEN getvariable('is_before_coverage') THEN 'before-coverage'
        ELSE 'gap'
    END AS reason,
    CASE WHEN rule IN ('p', 'both') AND p_kind = 'change' THEN change_id END AS change_id,
    CASE WHEN rule IN ('p', 'both') AND p_kind = 'change' THEN p_ms END AS changed_at_ms,
    CASE WHEN rule IN ('p', 'both') AND p_kind = 'change' THEN p_effective_ms END AS valid_from_ms
FROM ruled
