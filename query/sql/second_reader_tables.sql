-- What a second reader of the stream saw, and what evidence holds of the same hours: identities and digests of leaves.
CREATE TEMP TABLE streamed (
    item_key VARCHAR, sequence_number VARCHAR, change_id VARCHAR, op VARCHAR, changed_at_ms BIGINT, leaf BLOB
);
CREATE TEMP TABLE archived (
    item_key VARCHAR, sequence_number VARCHAR, change_id VARCHAR, op VARCHAR, changed_at_ms BIGINT, leaf BLOB,
    segment VARCHAR
);
