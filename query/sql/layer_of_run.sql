-- What the changes of one run left of each item at the instant, each change once. A run says itself what follows a row.
CREATE OR REPLACE TEMP VIEW layer AS
SELECT
    item_key, pk, sk, 'change' AS basis, new_image AS image, change_id, op, stream_label, sequence_number,
    epoch_ms(changed_at) AS changed_ms,
    epoch_ms(effective_at) AS effective_ms,
    op <> 'REMOVE' AS existed
FROM read_parquet(getvariable('layer_files'), hive_partitioning = false, union_by_name = false)
WHERE
    NOT repeats
    AND epoch_ms(effective_at) <= getvariable('layers').at_ms
    AND (superseded_at IS NULL OR epoch_ms(superseded_at) > getvariable('layers').at_ms)
    AND epoch_ms(effective_at) >= getvariable('layers').from_ms
