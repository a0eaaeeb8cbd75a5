-- The items of a layer that existed, with the columns of `answers`; it settles all that it tells of.
SELECT
    item_key, 'p' AS rule, image, basis, NULL::VARCHAR AS reason, true AS is_known, true AS was_before,
    CASE basis WHEN 'change' THEN change_id END AS change_id,
    CASE basis WHEN 'change' THEN changed_ms END AS changed_at_ms,
    CASE basis WHEN 'change' THEN effective_ms END AS valid_from_ms
FROM layer
WHERE existed
