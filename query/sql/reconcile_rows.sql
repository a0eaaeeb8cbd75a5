-- The items on which trail and table seem to disagree.
SELECT * EXCLUDE (is_reported) FROM reconciled WHERE is_reported ORDER BY item_key
