-- The state of every item, by the first rule that knows it (docs/answers.md, State). No image stands here, only on which
-- side it is. Two images on both sides of a gap are left to be compared: whether they are the same value is not for SQL.
CREATE OR REPLACE TEMP TABLE states AS
WITH known AS (
    SELECT
        sides.*,
        CASE p_kind
            WHEN 'end' THEN true
            WHEN 'baseline' THEN true
            WHEN 'change' THEN p_op = 'REMOVE' OR has_p_image
            ELSE false
        END AS is_p_known,
        CASE p_kind WHEN 'baseline' THEN is_in_floor WHEN 'change' THEN p_op <> 'REMOVE' AND has_p_image ELSE false END
            AS is_p_present,
        CASE n_kind WHEN 'baseline' THEN true WHEN 'change' THEN n_op = 'INSERT' OR has_n_image ELSE false END
            AS is_n_known,
        CASE n_kind
            WHEN 'baseline' THEN is_in_ceiling WHEN 'change' THEN n_op <> 'INSERT' AND has_n_image ELSE false
        END AS is_n_present,
        coalesce(p_label = getvariable('moment').covering_label, false) AS is_p_covered,
        coalesce(n_label = getvariable('moment').covering_label, false) AS is_n_covered
    FROM sides
    LEFT JOIN p_rows USING (p_row)
    LEFT JOIN n_rows USING (n_row)
),
ruled AS (
    SELECT
        *,
        CASE
            WHEN p_kind = 'end' AND is_n_covered AND is_n_known THEN 'n'
            WHEN is_p_covered AND is_p_known THEN 'p'
            WHEN is_n_covered AND is_n_known THEN 'n'
            WHEN is_p_known AND is_n_known AND NOT is_p_present AND NOT is_n_present THEN 'both'
            WHEN is_p_known AND is_n_known AND is_p_present AND is_n_present THEN 'compare'
            ELSE 'unknown'
        END AS rule,
        -- Where nothing is known, the side of the best guess.
        CASE WHEN rule = 'n' OR (rule = 'unknown' AND NOT is_p_known) THEN 'n' ELSE 'p' END AS side
    FROM known
)
SELECT
    item_key,
    rule,
    CASE
        WHEN side = 'p' AND is_p_present THEN CASE p_kind WHEN 'baseline' THEN 'floor' ELSE 'p' END
        WHEN side = 'n' AND is_n_present THEN CASE n_kind WHEN 'baseline' THEN 'ceiling' ELSE 'n' END
    END AS image_side,
    p_row,
    n_row,
    n_kind,
    is_p_known OR is_n_known AS is_known,
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
        WHEN getvariable('moment').is_before_coverage THEN 'before-coverage'
        ELSE 'gap'
    END AS reason,
    p_kind = 'change' AS is_p_change,
    p_effective_ms
FROM ruled
