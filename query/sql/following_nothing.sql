-- No run has a change after the instant that could stand before one at or before it.
CREATE OR REPLACE TEMP VIEW following AS SELECT '' AS item_key, '' AS ord WHERE false
