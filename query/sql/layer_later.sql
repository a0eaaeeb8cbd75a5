-- Puts right what an older layer has a later change of: the greatest order wins, and time never steps back.
UPDATE settled
SET
    basis = later.basis,
    image = later.image,
    change_id = later.change_id,
    op = later.op,
    stream_label = later.stream_label,
    sequence_number = later.sequence_number,
    changed_ms = later.changed_ms,
    effective_ms = later.effective_ms
FROM (
    SELECT
        layer.* EXCLUDE (effective_ms, pk, sk, existed),
        greatest(layer.effective_ms, settled.effective_ms) AS effective_ms
    FROM layer
    JOIN settled USING (item_key)
    WHERE
        layer.stream_label IS NOT NULL
        AND settled.stream_label IS NOT NULL
        AND (layer.stream_label, layer.sequence_number) > (settled.stream_label, settled.sequence_number)
    UNION ALL
    SELECT
        settled.* EXCLUDE (effective_ms, pk, sk, existed),
        layer.effective_ms
    FROM layer
    JOIN settled USING (item_key)
    WHERE
        layer.stream_label IS NOT NULL
        AND settled.stream_label IS NOT NULL
        AND (layer.stream_label, layer.sequence_number) < (settled.stream_label, settled.sequence_number)
        AND layer.effective_ms > settled.effective_ms
) AS later
WHERE settled.item_key = later.item_key
