-- What a snapshot shows of each item: the change that was the last one then, or what a baseline shows.
CREATE OR REPLACE TEMP VIEW layer AS
SELECT
    item_key, pk, sk, basis, image, change_id, op, stream_label, sequence_number,
    epoch_ms(changed_at) AS changed_ms,
    epoch_ms(effective_at) AS effective_ms,
    outcome = 'existed' AS existed
FROM read_parquet(getvariable('layer_files'), hive_partitioning = false, union_by_name = false)
