-- The columns of one file, in order; the first element of a Parquet schema is its root.
SELECT name FROM parquet_schema($path) OFFSET 1
