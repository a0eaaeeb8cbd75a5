-- Where a clock stepped back between runs, the change that wins may be none that a run alone would offer.
CREATE OR REPLACE TEMP VIEW winners AS SELECT * FROM changes
