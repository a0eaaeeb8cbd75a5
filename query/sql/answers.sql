-- States with their images, and with the change that an answer rests on.
CREATE OR REPLACE TEMP VIEW answers AS
SELECT
    states.item_key,
    rule,
    CASE image_side
        WHEN 'p' THEN p_image WHEN 'n' THEN n_image WHEN 'floor' THEN floor.image WHEN 'ceiling' THEN ceiling.image
    END AS image,
    basis,
    reason,
    is_known,
    was_before,
    rule IN ('p', 'both') AND is_p_change AS rests_on_change,
    CASE WHEN rests_on_change THEN change_id END AS change_id,
    CASE WHEN rests_on_change THEN p_ms END AS changed_at_ms,
    CASE WHEN rests_on_change THEN p_effective_ms END AS valid_from_ms
FROM states
LEFT JOIN p_rows USING (p_row)
LEFT JOIN n_rows USING (n_row)
LEFT JOIN floor ON image_side = 'floor' AND floor.item_key = states.item_key
LEFT JOIN ceiling ON image_side = 'ceiling' AND ceiling.item_key = states.item_key
