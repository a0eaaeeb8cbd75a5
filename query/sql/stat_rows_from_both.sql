CREATE OR REPLACE TEMP VIEW stat_rows AS SELECT * FROM stat_rows_of_segments UNION ALL SELECT * FROM stat_rows_of_runs
