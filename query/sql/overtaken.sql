-- How many items are settled by a change behind one of a run that was made after the instant: a clock stepped back.
SELECT count(*)
FROM read_parquet(getvariable('layer_files'), hive_partitioning = false, union_by_name = false) AS following
JOIN settled USING (item_key)
WHERE
    epoch_ms(effective_at) > getvariable('layers').at_ms
    AND (preceded_at IS NULL OR epoch_ms(preceded_at) <= getvariable('layers').at_ms)
    AND settled.stream_label IS NOT NULL
    AND (following.stream_label, following.sequence_number) < (settled.stream_label, settled.sequence_number)
