-- Only the rows of the items asked for.
CREATE OR REPLACE TEMP TABLE asked_changes AS SELECT * FROM changes WHERE item_key IN (SELECT unnest(getvariable('moment').item_keys))
