-- The rows of segments. row_id says where a row stands (file and row), for late reading of images; told_by which segment
-- tells of it: its number among the files, or, below zero, that of its entry in the log (`query.tellers`). A segment
-- knows nothing of an item's other changes, so each of its rows may be the last one before an instant and the first after.
CREATE OR REPLACE TEMP VIEW segment_changes AS
SELECT
    change_id, op, changed_at, sequence_number, stream_label, item_key, pk, sk, old_image, new_image, user_identity, event,
    stream_label || ' ' || sequence_number AS ord,
    epoch_ms(changed_at) AS changed_at_ms,
    ((file_index::BIGINT + getvariable('first_segment_file')) << 32) | file_row_number AS row_id,
    file_index::BIGINT AS told_by,
    epoch_ms(changed_at) AS effective_ms,
    NULL::BIGINT AS preceded_ms,
    NULL::BIGINT AS superseded_ms
FROM read_parquet(getvariable('segment_files'), hive_partitioning = false, union_by_name = false)
