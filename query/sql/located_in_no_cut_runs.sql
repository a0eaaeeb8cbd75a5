CREATE TEMP VIEW located_in_cut_runs AS SELECT NULL::UUID AS item, NULL::BIGINT AS place WHERE false
