-- Nothing was archived in the time of the run.
CREATE OR REPLACE TEMP VIEW unordered AS
SELECT
    '' AS change_id, '' AS op, now() AS changed_at, '' AS sequence_number, '' AS stream_label, '' AS item_key,
    ''  AS pk, '' AS sk, '' AS old_image, '' AS new_image, '' AS user_identity, '' AS event,
    ['']::VARCHAR[] AS changed_attributes, 0::BIGINT AS segment, 0::BIGINT AS position
WHERE false
