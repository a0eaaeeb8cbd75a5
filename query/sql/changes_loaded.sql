-- The rows of a small trail that were read before.
CREATE TEMP VIEW changes AS SELECT * FROM loaded
