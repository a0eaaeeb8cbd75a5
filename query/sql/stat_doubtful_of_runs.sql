-- Rows of runs that stand where another file has rows too, by their order: only those can tell of a change once more.
CREATE OR REPLACE TEMP VIEW stat_doubtful_of_runs AS
SELECT hash(stream_label, sequence_number, item_key) AS identity, epoch_ms(changed_at) AS changed_at_ms
FROM read_parquet(getvariable('doubtful_files'), hive_partitioning = false, union_by_name = false)
WHERE
    stream_label || ' ' || sequence_number <= getvariable('doubtful_to')[file_index::BIGINT + 1]
    OR stream_label || ' ' || sequence_number >= getvariable('doubtful_from')[file_index::BIGINT + 1]
