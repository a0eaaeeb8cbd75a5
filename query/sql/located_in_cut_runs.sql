CREATE TEMP VIEW located_in_cut_runs AS SELECT item_digest(item_key) AS item, place FROM told_of_cut_runs
