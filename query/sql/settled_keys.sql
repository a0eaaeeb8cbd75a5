-- The items that are settled by the layers so far, the newest layer first, and by which; no image is carried along.
CREATE TEMP TABLE settled AS
SELECT item_key, basis, stream_label, sequence_number, effective_ms, existed, getvariable('layer_number') AS layer_number
FROM layer
