-- What the relations of a trail are made of, each table filled once: who it is, its key, and the files that tell of it.
CREATE SCHEMA IF NOT EXISTS trail;
CREATE TABLE trail._trail (account VARCHAR, region VARCHAR, table_name VARCHAR, asked_at TIMESTAMPTZ);
CREATE TABLE trail._key (place INTEGER, kind VARCHAR, pointer VARCHAR);
CREATE TABLE trail._stretches (stream_label VARCHAR, since TIMESTAMPTZ, until TIMESTAMPTZ);
CREATE TABLE trail._ends (stream_label VARCHAR, began TIMESTAMPTZ);
CREATE TABLE trail._segments (told_by BIGINT, segment VARCHAR, is_sealed BOOLEAN);
CREATE TABLE trail._baselines (baseline INTEGER, from_at TIMESTAMPTZ, to_at TIMESTAMPTZ, stream_label VARCHAR);
CREATE TABLE trail._baseline_items (baseline INTEGER, item_key VARCHAR, pk VARCHAR, sk VARCHAR, image VARCHAR);
