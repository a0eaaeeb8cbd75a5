-- The changes whose id begins with a prefix: which ones, and where in the order.
SELECT DISTINCT change_id, stream_label, sequence_number, changed_at_ms
FROM changes
WHERE starts_with(change_id, $prefix)
ORDER BY stream_label, sequence_number
LIMIT 20
