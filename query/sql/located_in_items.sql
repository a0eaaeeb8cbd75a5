-- What the items files say of runs all of whose changes lie between the floor and the instant, and of a snapshot.
CREATE TEMP VIEW located_in_items AS
SELECT
    item_digest AS item,
    place_at(getvariable('items_ranks')[file_index::BIGINT + 1], items."row", existed) AS place
FROM read_parquet(getvariable('items_files'), hive_partitioning = false, union_by_name = false) AS items
