-- The same of segments, where names have to be found by comparing images.
CREATE OR REPLACE TEMP VIEW stat_rows_of_segments AS
SELECT
    hash(stream_label, sequence_number, item_key) AS identity,
    op, changed_at_ms, sequence_number, stream_label, item_key, old_image, new_image, user_identity,
    changed_names(op, old_image, new_image) AS changed_attributes, row_id, told_by
FROM segment_changes
