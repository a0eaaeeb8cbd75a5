-- Of each stream label the earliest and the latest change, and how many rows tell of its changes.
SELECT stream_label, min(epoch_ms(changed_at)), max(epoch_ms(changed_at)), count(*)
FROM unordered
GROUP BY stream_label
ORDER BY 1
