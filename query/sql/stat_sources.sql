-- Which of the two kinds of files this question opened; neither, where the rows were loaded before.
SELECT view_name FROM duckdb_views() WHERE temporary AND view_name IN ('segment_changes', 'run_changes')
