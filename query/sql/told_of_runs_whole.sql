CREATE OR REPLACE TEMP VIEW told_of_runs AS SELECT * FROM told_of_whole_runs
