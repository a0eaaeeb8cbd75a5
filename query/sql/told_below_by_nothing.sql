-- Without a snapshot: the items of a baseline have no place in the order of changes.
CREATE OR REPLACE TEMP VIEW told_below AS
SELECT '' AS item_key, 0::BIGINT AS place, 0::BIGINT AS effective_ms, '' AS stream_label, '' AS ord WHERE false
