-- No run has a change at or before the instant.
CREATE OR REPLACE TEMP VIEW told_of_runs AS
SELECT '' AS item_key, 0::BIGINT AS place, 0::BIGINT AS effective_ms, '' AS stream_label, '' AS ord WHERE false
