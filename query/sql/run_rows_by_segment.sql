-- The rows of a run as its segments have them, in the order of those.
SELECT
    change_id, op, epoch_ms(changed_at) AS changed_at_ms, sequence_number, stream_label, item_key, pk, sk, old_image,
    new_image, user_identity, event, segment, position
FROM read_parquet(getvariable('run_files'), hive_partitioning = false, union_by_name = false)
ORDER BY segment, position
