CREATE OR REPLACE TEMP VIEW told_of_runs AS SELECT * FROM told_of_whole_runs UNION ALL SELECT * FROM told_of_cut_runs
