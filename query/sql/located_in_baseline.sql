-- The items of a complete baseline.
CREATE TEMP VIEW located_in_baseline AS
SELECT
    item_digest(item_key) AS item,
    place_at(getvariable('baseline_ranks')[file_index::BIGINT + 1], file_row_number, true) AS place
FROM read_parquet(getvariable('baseline_files'), hive_partitioning = false, union_by_name = false)
