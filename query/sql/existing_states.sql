-- The items that existed, in a steady order; with guesses, those of unknown state too where a fact on one side shows one.
SELECT
    item_key, image, n_image, basis, change_id, changed_at_ms, valid_from_ms, reason, rule, was_before,
    is_p_known, is_n_known
FROM states
WHERE
    (rule IN ('n', 'p', 'both') AND image IS NOT NULL)
    OR (
        $with_guesses
        AND rule IN ('unknown', 'compare')
        AND CASE WHEN is_p_known THEN image ELSE n_image END IS NOT NULL
    )
ORDER BY item_key
