-- Of an older layer: how many items it adds; of how many it has a later change after all, in
-- order or in time (one that arrived late, or a clock that stepped back); and of how many it tells the same change again.
-- What is shown by a baseline has no place in the order, and a row with NULL would compare as the greatest.
SELECT
    count(*) FILTER (settled.item_key IS NULL),
    count(*) FILTER (
        layer.stream_label IS NOT NULL
        AND settled.stream_label IS NOT NULL
        AND (
            (layer.stream_label, layer.sequence_number) > (settled.stream_label, settled.sequence_number)
            OR layer.effective_ms > settled.effective_ms
        )
    ),
    count(*) FILTER (
        layer.stream_label = settled.stream_label AND layer.sequence_number = settled.sequence_number
    )
FROM layer
LEFT JOIN settled USING (item_key)
