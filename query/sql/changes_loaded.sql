-- The rows of a small trail that were read before.
CREATE OR REPLACE TEMP VIEW changes AS SELECT * FROM loaded
