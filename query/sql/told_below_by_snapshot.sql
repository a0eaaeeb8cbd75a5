-- What a snapshot shows of each item: the change that was the last one then, or what a baseline shows.
CREATE OR REPLACE TEMP VIEW told_below AS
SELECT
    item_key,
    place_at(getvariable('below_ranks')[file_index::BIGINT + 1], file_row_number, outcome = 'existed') AS place,
    epoch_ms(effective_at) AS effective_ms,
    CASE basis WHEN 'change' THEN stream_label END AS stream_label,
    snapshot.stream_label || ' ' || sequence_number AS ord
FROM read_parquet(getvariable('below_files'), hive_partitioning = false, union_by_name = false) AS snapshot
