-- The items that existed, layer by layer, to be put in order.
CREATE OR REPLACE TEMP TABLE existing AS
SELECT
    item_key, 'p' AS rule, image, basis, NULL::VARCHAR AS reason, true AS is_known, true AS was_before,
    CASE basis WHEN 'change' THEN change_id END AS change_id,
    CASE basis WHEN 'change' THEN changed_ms END AS changed_at_ms,
    CASE basis WHEN 'change' THEN effective_ms END AS valid_from_ms
FROM layer
WHERE false
