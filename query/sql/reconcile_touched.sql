-- Items that changed in a range of `changed_at`, both ends included.
SELECT DISTINCT item_key FROM changes WHERE changed_at_ms BETWEEN $since_ms AND $until_ms
