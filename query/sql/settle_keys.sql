-- Adds what an older layer alone tells of.
INSERT INTO settled
SELECT item_key, basis, stream_label, sequence_number, effective_ms, existed, getvariable('layer_number')
FROM layer
ANTI JOIN settled USING (item_key)
