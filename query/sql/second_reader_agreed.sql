-- How many changes of the stream stand in evidence, with the same leaf.
SELECT count(*)
FROM (SELECT DISTINCT item_key, sequence_number, leaf FROM streamed)
SEMI JOIN archived USING (item_key, sequence_number, leaf)
