-- The items that existed, in a steady order, where all of them are settled.
SELECT
    item_key, 'p' AS rule, image, basis, NULL::VARCHAR AS reason, true AS is_known, true AS was_before,
    CASE basis WHEN 'change' THEN change_id END AS change_id,
    CASE basis WHEN 'change' THEN changed_ms END AS changed_at_ms,
    CASE basis WHEN 'change' THEN effective_ms END AS valid_from_ms
FROM settled
WHERE image IS NOT NULL
ORDER BY item_key
