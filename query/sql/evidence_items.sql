-- Of the items with the most changes, the first changes of each, in order.
WITH records AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY item_key ORDER BY stream_label, sequence_number) AS place,
        count(*) OVER (PARTITION BY item_key) AS total
    FROM (
        SELECT item_key, stream_label, sequence_number, changed_at, op, actor, actor_reason, change_id, file_row_number
        FROM read_parquet(getvariable('evidence_file'), file_row_number = true)
    )
),
busiest AS (
    SELECT item_key
    FROM records
    GROUP BY item_key, total
    ORDER BY total DESC, item_key
    LIMIT $most_items
)
SELECT
    item_key, total, epoch_ms(records.changed_at) AS at_ms, records.op, records.actor, records.actor_reason,
    records.change_id, whole.changes
FROM records
JOIN busiest USING (item_key)
JOIN (
    SELECT file_row_number, changes
    FROM read_parquet(getvariable('evidence_file'), file_row_number = true)
) AS whole ON whole.file_row_number = records.file_row_number
WHERE place <= $most_changes
ORDER BY total DESC, item_key, place
