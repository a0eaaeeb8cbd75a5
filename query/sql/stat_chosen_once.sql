-- The same without the rows that are dropped.
CREATE OR REPLACE TEMP VIEW stat_counted AS
SELECT * FROM stat_chosen WHERE row_id NOT IN (SELECT row_id FROM stat_dropped)
