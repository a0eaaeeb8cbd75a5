-- Of each stream label the earliest and the latest change, how many rows tell of its changes, and its ends in order.
SELECT
    stream_label, min(epoch_ms(changed_at)), max(epoch_ms(changed_at)), count(*), min(sequence_number), max(sequence_number)
FROM unordered
GROUP BY stream_label
ORDER BY 1
