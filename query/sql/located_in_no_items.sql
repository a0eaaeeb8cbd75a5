CREATE TEMP VIEW located_in_items AS SELECT NULL::UUID AS item, NULL::BIGINT AS place WHERE false
