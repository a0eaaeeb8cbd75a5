-- The rows of the segments of a question; row_id says where a row stands (file and row), for late reading of images.
CREATE TEMP VIEW changes AS
SELECT
    *,
    stream_label || ' ' || sequence_number AS ord,
    epoch_ms(changed_at) AS changed_at_ms,
    (file_index::BIGINT << 32) | file_row_number AS row_id
FROM read_parquet(getvariable('segment_files'), hive_partitioning = false, union_by_name = false)
