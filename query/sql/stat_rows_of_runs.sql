-- Changes in narrow columns, for counting; a run knows the names of what changed. No identity is told by two rows, unless
-- rows are repeated: one number for each will find those.
CREATE OR REPLACE TEMP VIEW stat_rows_of_runs AS
SELECT
    hash(stream_label, sequence_number, item_key) AS identity,
    op, epoch_ms(changed_at) AS changed_at_ms, sequence_number, stream_label, item_key, old_image, new_image,
    user_identity, changed_attributes,
    (file_index::BIGINT << 32) | file_row_number AS row_id,
    -1 - segment AS told_by
FROM read_parquet(getvariable('run_files'), hive_partitioning = false, union_by_name = false)
