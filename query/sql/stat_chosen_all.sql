-- The same, where no row is to be dropped.
CREATE OR REPLACE TEMP VIEW stat_counted AS SELECT * FROM stat_chosen
