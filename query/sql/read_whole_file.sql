-- Every value of one file: fails if any of it cannot be read.
SELECT sum(hash(COLUMNS(*))::HUGEINT) FROM read_parquet($path, hive_partitioning = false)
