-- What stream and evidence do not agree on. A row of evidence whose leaf the stream does not hold under that identity is
-- different, also where another row beside it is right. What evidence alone holds is told of only inside $since_ms to
-- $until_ms, where the stream still had everything.
CREATE TEMP TABLE disagreements AS
SELECT
    CASE WHEN changed_at_ms > $young_ms THEN 'in-flight' ELSE 'missing' END AS kind,
    item_key, sequence_number, change_id, op, changed_at_ms, NULL AS segment
FROM (SELECT DISTINCT * EXCLUDE (leaf) FROM streamed)
ANTI JOIN archived USING (item_key, sequence_number)
UNION ALL
SELECT 'different', item_key, sequence_number, change_id, op, changed_at_ms, segment
FROM archived
SEMI JOIN streamed USING (item_key, sequence_number)
ANTI JOIN streamed AS same USING (item_key, sequence_number, leaf)
UNION ALL
SELECT 'invented', item_key, sequence_number, change_id, op, changed_at_ms, segment
FROM archived
ANTI JOIN streamed USING (item_key, sequence_number)
WHERE changed_at_ms BETWEEN $since_ms AND $until_ms
