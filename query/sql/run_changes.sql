-- The rows of whole runs, numbered as files before those of segments.
CREATE OR REPLACE TEMP VIEW run_changes AS
SELECT
    change_id, op, changed_at, sequence_number, stream_label, item_key, pk, sk, old_image, new_image, user_identity, event,
    stream_label || ' ' || sequence_number AS ord,
    epoch_ms(changed_at) AS changed_at_ms,
    (file_index::BIGINT << 32) | file_row_number AS row_id,
    -1 - segment AS told_by,
    epoch_ms(effective_at) AS effective_ms,
    epoch_ms(preceded_at) AS preceded_ms,
    epoch_ms(superseded_at) AS superseded_ms
FROM read_parquet(getvariable('run_files'), hive_partitioning = false, union_by_name = false)
