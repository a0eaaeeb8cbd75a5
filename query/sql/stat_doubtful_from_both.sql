CREATE OR REPLACE TEMP VIEW stat_doubtful AS
SELECT identity, changed_at_ms FROM stat_rows_of_segments
UNION ALL
SELECT identity, changed_at_ms FROM stat_doubtful_of_runs
