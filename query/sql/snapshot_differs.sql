-- The items of which a snapshot says something else than their last changes and the baseline: what differs. Key text may
-- be left out. A change that is told in two ways, whose image was not carried, or of another stream leaves nothing to say.
WITH last AS (
    SELECT
        winners.item_key, winners.stream_label, winners.sequence_number, effective_ms,
        any_value(winners.pk) AS pk,
        any_value(winners.sk) AS sk,
        any_value(op) AS op,
        any_value(new_image) AS image,
        max(epoch_ms(changed_at)) AS changed_ms,
        list(DISTINCT change_id) AS change_ids,
        count(DISTINCT hash(op, changed_at, old_image, new_image)) > 1 AS is_contradicted
    FROM unordered
    JOIN winners USING (item_key, stream_label, sequence_number)
    GROUP BY winners.item_key, winners.stream_label, winners.sequence_number, effective_ms
),
expected AS (
    SELECT
        coalesce(last.item_key, floor.item_key) AS item_key,
        coalesce(last.pk, floor.pk) AS pk,
        coalesce(last.sk, floor.sk) AS sk,
        coalesce(effective_ms >= getvariable('snapshot').floor_ms, false) AS is_change,
        CASE WHEN is_change THEN last.image ELSE floor.image END AS image,
        is_change AND (
            is_contradicted
            OR (last.image IS NULL AND op <> 'REMOVE')
            OR stream_label IS DISTINCT FROM getvariable('snapshot').label
        ) AS is_untold,
        op, changed_ms, effective_ms, stream_label, sequence_number, change_ids
    FROM last
    FULL JOIN floor ON floor.item_key = last.item_key
),
shown AS (
    SELECT * REPLACE (epoch_ms(changed_at) AS changed_at, epoch_ms(effective_at) AS effective_at)
    FROM read_parquet(getvariable('snapshot_files'), hive_partitioning = false, union_by_name = false)
),
compared AS (
    SELECT
        coalesce(expected.item_key, shown.item_key) AS item_key,
        list_filter([
            CASE WHEN shown.item_key IS NULL THEN 'it is not there' END,
            CASE WHEN expected.item_key IS NULL THEN 'nothing tells of it' END,
            CASE WHEN is_untold THEN 'order alone does not tell' END,
            CASE WHEN shown.pk <> expected.pk OR (shown.pk IS NOT NULL AND expected.pk IS NULL) THEN 'pk' END,
            CASE
                WHEN shown.pk IS NOT NULL AND shown.sk IS DISTINCT FROM expected.sk
                    OR (shown.pk IS NULL AND shown.sk IS NOT NULL) THEN 'sk'
            END,
            CASE WHEN shown.image IS DISTINCT FROM expected.image THEN 'image' END,
            CASE
                WHEN shown.outcome <> CASE WHEN expected.image IS NULL THEN 'already-deleted' ELSE 'existed' END
                    THEN 'outcome'
            END,
            CASE WHEN shown.basis <> CASE WHEN is_change THEN 'change' ELSE 'baseline' END THEN 'basis' END,
            CASE
                WHEN shown.change_id IS NULL <> (change_ids IS NULL) OR NOT list_contains(change_ids, shown.change_id)
                    THEN 'change_id'
            END,
            CASE WHEN shown.op IS DISTINCT FROM expected.op THEN 'op' END,
            CASE WHEN shown.changed_at IS DISTINCT FROM changed_ms THEN 'changed_at' END,
            CASE WHEN shown.effective_at IS DISTINCT FROM effective_ms THEN 'effective_at' END,
            CASE WHEN shown.stream_label IS DISTINCT FROM expected.stream_label THEN 'stream_label' END,
            CASE WHEN shown.sequence_number IS DISTINCT FROM expected.sequence_number THEN 'sequence_number' END
        ], lambda one: one IS NOT NULL) AS differ
    FROM expected
    FULL JOIN shown ON shown.item_key = expected.item_key
)
SELECT item_key, array_to_string(differ, ', ') FROM compared WHERE len(differ) > 0 LIMIT 3
