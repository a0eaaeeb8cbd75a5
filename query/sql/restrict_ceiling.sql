-- Only the rows of the items asked for.
CREATE OR REPLACE TEMP TABLE asked_ceiling AS SELECT * FROM ceiling WHERE item_key IN (SELECT unnest(getvariable('moment').item_keys))
