-- The rows of smaller runs that a larger one is made of.
CREATE OR REPLACE TEMP VIEW run_rows_of_runs AS
SELECT
    change_id, op, changed_at, sequence_number, stream_label, item_key, pk, sk, old_image, new_image, user_identity, event,
    changed_attributes, segment, position
FROM read_parquet(getvariable('run_files'), hive_partitioning = false, union_by_name = false)
