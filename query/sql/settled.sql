-- The items that are settled by the layers so far, the newest layer first.
CREATE TEMP TABLE settled AS SELECT * FROM layer
