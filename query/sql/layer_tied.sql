-- The items of which two layers tell the same change.
SELECT item_key
FROM layer
JOIN settled USING (item_key)
WHERE layer.stream_label = settled.stream_label AND layer.sequence_number = settled.sequence_number
