-- How many items are told of last by a change of a stream that does not cover the instant.
SELECT count(*)
FROM told
SEMI JOIN placed USING (place)
WHERE stream_label <> $covering_label
