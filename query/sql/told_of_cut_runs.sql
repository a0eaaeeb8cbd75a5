-- The same of runs that reach beyond the instant or the floor.
CREATE OR REPLACE TEMP VIEW told_of_cut_runs AS
SELECT
    item_key,
    place_at(getvariable('cut_ranks')[file_index::BIGINT + 1], file_row_number, op <> 'REMOVE') AS place,
    epoch_ms(effective_at) AS effective_ms,
    stream_label,
    stream_label || ' ' || sequence_number AS ord
FROM read_parquet(getvariable('cut_files'), hive_partitioning = false, union_by_name = false)
WHERE
    NOT repeats
    AND epoch_ms(effective_at) <= getvariable('layers').at_ms
    AND (superseded_at IS NULL OR epoch_ms(superseded_at) > getvariable('layers').at_ms)
    AND epoch_ms(effective_at) >= getvariable('layers').from_ms
