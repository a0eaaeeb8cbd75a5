-- How many of the changes that are held back are not among those archived.
WITH held AS (
    SELECT unnest(getvariable('held').item_keys) AS item_key, unnest(getvariable('held').orders) AS ord
)
SELECT count(*)
FROM held
ANTI JOIN changes USING (item_key, ord)
