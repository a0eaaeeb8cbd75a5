-- The changes of every item in order, narrow: what each says of the moment before it and after it, as the digest of an
-- image (0: absent, NULL: the stream carried none). Images are read later, for the few links that seem broken.
CREATE TEMP TABLE chain AS
SELECT
    item_key,
    ord,
    row_id,
    NULL::INTEGER AS baseline,
    changed_at_ms,
    max(changed_at_ms) OVER (PARTITION BY item_key ORDER BY ord, row_id ROWS UNBOUNDED PRECEDING) AS effective_ms,
    len(list_filter(getvariable('ends')::VARCHAR[], lambda first: first <= stream_label)) AS table_number,
    CASE WHEN op = 'INSERT' THEN 0::UHUGEINT ELSE md5_number(old_image) END AS before,
    CASE WHEN op = 'REMOVE' THEN 0::UHUGEINT ELSE md5_number(new_image) END AS after
FROM changes
