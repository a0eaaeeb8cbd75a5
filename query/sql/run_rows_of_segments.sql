-- A segment's columns as a run has them, with what its two images say and where the row is in evidence.
CREATE OR REPLACE TEMP VIEW run_rows_of_segments AS
SELECT
    change_id, op, changed_at, sequence_number, stream_label, item_key, pk, sk, old_image, new_image, user_identity, event,
    changed_names(op, old_image, new_image) AS changed_attributes,
    getvariable('segment_entries')[file_index::BIGINT + 1]::BIGINT AS segment,
    file_row_number::BIGINT AS position
FROM read_parquet(getvariable('segment_files'), hive_partitioning = false, union_by_name = false)
