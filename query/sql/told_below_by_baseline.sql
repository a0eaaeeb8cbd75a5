-- The items of a complete baseline. They have no place in the order of changes.
CREATE OR REPLACE TEMP VIEW told_below AS
SELECT
    item_key,
    place_at(getvariable('below_ranks')[file_index::BIGINT + 1], file_row_number, true) AS place,
    NULL::BIGINT AS effective_ms,
    NULL::VARCHAR AS stream_label,
    NULL::VARCHAR AS ord
FROM read_parquet(getvariable('below_files'), hive_partitioning = false, union_by_name = false)
