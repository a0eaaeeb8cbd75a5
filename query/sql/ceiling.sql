-- The items of a baseline.
CREATE OR REPLACE TEMP VIEW ceiling AS
SELECT item_key, pk, sk, image FROM read_parquet(getvariable('ceiling_files'), hive_partitioning = false)
