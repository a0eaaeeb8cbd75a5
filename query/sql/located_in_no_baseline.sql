CREATE TEMP VIEW located_in_baseline AS SELECT NULL::UUID AS item, NULL::BIGINT AS place WHERE false
