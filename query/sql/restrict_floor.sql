-- Only the rows of the items asked for.
CREATE OR REPLACE TEMP TABLE asked_floor AS SELECT * FROM floor WHERE item_key IN (SELECT unnest(getvariable('moment').item_keys))
