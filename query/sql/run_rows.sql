-- The rows of a run in its order.
SELECT *
FROM hinted
ORDER BY pk NULLS FIRST, sk NULLS FIRST, item_key, stream_label, sequence_number, segment, position
