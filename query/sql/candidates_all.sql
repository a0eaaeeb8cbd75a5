-- Every change may have to be looked at.
CREATE TEMP VIEW candidates AS SELECT * FROM changes
