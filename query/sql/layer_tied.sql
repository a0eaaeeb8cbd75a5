-- The items of which two layers tell the same change.
SELECT item_key
FROM layer
JOIN settled USING (item_key)
WHERE (layer.stream_label, layer.sequence_number) = (settled.stream_label, settled.sequence_number)
