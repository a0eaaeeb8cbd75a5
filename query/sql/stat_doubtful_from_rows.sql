-- All rows: nothing is known of them yet, or there are no runs.
CREATE OR REPLACE TEMP VIEW stat_doubtful AS SELECT identity, changed_at_ms FROM stat_rows
