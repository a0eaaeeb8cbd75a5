-- Every change may have to be looked at.
CREATE OR REPLACE TEMP VIEW candidates AS SELECT * FROM changes
