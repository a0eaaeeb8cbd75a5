-- The items of two states, and those of which one of them cannot tell.
CREATE OR REPLACE TEMP TABLE older (item_key VARCHAR, image VARCHAR, change_id VARCHAR, changed_at_ms BIGINT);
CREATE OR REPLACE TEMP TABLE newer (item_key VARCHAR, image VARCHAR, change_id VARCHAR, changed_at_ms BIGINT);
CREATE OR REPLACE TEMP TABLE left_out AS SELECT unnest(getvariable('left_out')::VARCHAR[]) AS item_key;
