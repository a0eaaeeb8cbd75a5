-- The items of a baseline.
CREATE OR REPLACE TEMP VIEW floor AS
SELECT item_key, pk, sk, image FROM read_parquet(getvariable('floor_files'), hive_partitioning = false)
