CREATE OR REPLACE TEMP VIEW stat_doubtful AS SELECT identity, changed_at_ms FROM stat_rows_of_segments
