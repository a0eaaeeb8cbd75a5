-- The changes of every item, as narrow as they can be: numbers in place of texts, so that a large trail is sorted in little
-- memory. What each says of the moment before it and after it is the hash of an image (0: absent, NULL: the stream carried
-- none). Images and keys are read later, for the few links that seem broken.
CREATE OR REPLACE TEMP TABLE chain AS
SELECT
    md5_number(item_key) AS item,
    list_position(getvariable('labels')::VARCHAR[], stream_label) AS label,
    number,
    row_id,
    NULL::INTEGER AS baseline,
    changed_at_ms,
    0::BIGINT AS effective_ms,
    (getvariable('table_numbers')::INTEGER[])[list_position(getvariable('labels')::VARCHAR[], stream_label)] AS table_number,
    CASE WHEN op = 'INSERT' THEN 0 WHEN old_image IS NOT NULL THEN hash(old_image) END AS before,
    CASE WHEN op = 'REMOVE' THEN 0 WHEN new_image IS NOT NULL THEN hash(new_image) END AS after
FROM numbered
