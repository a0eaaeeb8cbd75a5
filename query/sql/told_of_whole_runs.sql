-- The same of runs all of whose changes lie between the floor and the instant.
CREATE OR REPLACE TEMP VIEW told_of_whole_runs AS
SELECT
    item_key,
    place_at(getvariable('whole_ranks')[file_index::BIGINT + 1], file_row_number, op <> 'REMOVE') AS place,
    epoch_ms(effective_at) AS effective_ms,
    stream_label,
    stream_label || ' ' || sequence_number AS ord
FROM read_parquet(getvariable('whole_files'), hive_partitioning = false, union_by_name = false)
WHERE superseded_at IS NULL AND NOT repeats
