-- Adds what an older layer alone tells of.
INSERT INTO settled
SELECT layer.*
FROM layer
ANTI JOIN settled USING (item_key)
