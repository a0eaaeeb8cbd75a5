-- The items that existed and that a segment tells of last, with the columns of `answers`.
CREATE TEMP VIEW existing_in_segments AS
SELECT
    item_key, 'p' AS rule, image, 'change' AS basis, NULL::VARCHAR AS reason, true AS is_known, true AS was_before,
    change_id, changed_ms AS changed_at_ms, effective_ms AS valid_from_ms
FROM told_of_segments
SEMI JOIN placed USING (place)
WHERE existed_at(place)
