CREATE OR REPLACE TEMP VIEW unordered AS SELECT * FROM run_rows_of_runs
