-- For each item the first change after the instant, as each of some runs tells it.
CREATE OR REPLACE TEMP VIEW following AS
SELECT item_key, stream_label || ' ' || sequence_number AS ord
FROM read_parquet(getvariable('following_files'), hive_partitioning = false, union_by_name = false)
WHERE
    epoch_ms(effective_at) > getvariable('layers').at_ms
    AND (preceded_at IS NULL OR epoch_ms(preceded_at) <= getvariable('layers').at_ms)
