CREATE TEMP VIEW winners AS SELECT * FROM candidates
