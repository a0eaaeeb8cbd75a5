-- The rows that tell of a change once more, and all of the items that are in conflict ($conflicting).
CREATE OR REPLACE TEMP TABLE stat_dropped AS
SELECT row_id
FROM stat_rows
WHERE
    identity IN (SELECT identity FROM stat_repeated)
    AND is_in_range(changed_at_ms)
QUALIFY row_number() OVER (PARTITION BY item_key, stream_label, sequence_number ORDER BY row_id) > 1
UNION
SELECT row_id FROM stat_rows WHERE list_contains(getvariable('conflicting')::VARCHAR[], item_key)
