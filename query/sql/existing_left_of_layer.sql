-- The items that a layer settles and that existed, with the columns of `answers`.
SELECT
    item_key, 'p' AS rule, image, layer.basis, NULL::VARCHAR AS reason, true AS is_known, true AS was_before,
    CASE layer.basis WHEN 'change' THEN change_id END AS change_id,
    CASE layer.basis WHEN 'change' THEN changed_ms END AS changed_at_ms,
    CASE layer.basis WHEN 'change' THEN layer.effective_ms END AS valid_from_ms
FROM layer
JOIN settled USING (item_key)
WHERE settled.layer_number = getvariable('layer_number') AND layer.existed
