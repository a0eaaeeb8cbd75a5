-- The relations of a trail that rest on its changes alone. `trail` stands for the schema of the table.
CREATE VIEW trail.changes AS
SELECT
    change_id,
    account,
    region,
    table_name,
    changed_at::DATE::VARCHAR AS dt,
    lpad(hour(changed_at)::VARCHAR, 2, '0') AS hour,
    op,
    changed_at,
    sequence_number,
    stream_label,
    item_key,
    pk,
    sk,
    plain_item(old_image) AS old_item,
    plain_item(new_image) AS item,
    old_image,
    new_image,
    coalesce(told_attributes, changed_attributes(op, old_image, new_image)) AS changed_attributes,
    actor,
    actor_source,
    user_identity,
    event,
    segment,
    is_sealed
FROM trail._changes
LEFT JOIN trail._segments USING (told_by)
CROSS JOIN trail._trail;

CREATE VIEW trail.versions AS
SELECT
    item_key,
    pk,
    sk,
    effective_at AS valid_from,
    lead(effective_at) OVER (PARTITION BY item_key ORDER BY number) AS valid_to,
    op,
    CASE WHEN op <> 'REMOVE' THEN plain_item(new_image) END AS item,
    CASE WHEN op <> 'REMOVE' THEN new_image END AS image,
    actor,
    change_id,
    changed_at,
    stream_label,
    sequence_number
FROM trail._changes;

CREATE MACRO trail.changes_between(since_instant, until_instant) AS TABLE
SELECT *
FROM trail.changes
WHERE
    (since_instant IS NULL OR changed_at >= trail.instant(since_instant))
    AND (until_instant IS NULL OR changed_at < trail.instant(until_instant));

CREATE MACRO trail.is_of_key(key_text, partition_value, sort_value) AS (
    SELECT
        CASE
            WHEN count(*) = 0 THEN error('the key schema of this table is not known: filter item_key instead')
            WHEN partition_value IS NULL THEN error('history and blame take the value of the partition key')
            WHEN bool_or(kind = 'redacted') THEN error('a key attribute of this table is redacted: no item is found by it')
            WHEN sort_value IS NOT NULL AND count(*) = 1 THEN error('this table has no sort key')
            ELSE bool_and(
                (place = 2 AND sort_value IS NULL)
                OR CASE
                    WHEN kind = 'N' THEN number_value(json_extract_string(key_text, pointer))
                    ELSE json_extract_string(key_text, pointer)
                END = key_value(CASE place WHEN 1 THEN partition_value ELSE sort_value END, kind)
            )
        END
    FROM trail._key
);

CREATE MACRO trail.history(partition_value, sort_value := NULL, since := NULL, until := NULL) AS TABLE
SELECT *
FROM trail.changes
WHERE
    trail.is_of_key(item_key, partition_value, sort_value)
    AND (since IS NULL OR changed_at >= trail.instant(since))
    AND (until IS NULL OR changed_at < trail.instant(until))
ORDER BY stream_label DESC, sequence_number DESC, item_key;

CREATE VIEW trail.attribute_changes AS
SELECT
    path,
    kind,
    old,
    new,
    op,
    changed_at,
    item_key,
    pk,
    sk,
    actor,
    change_id,
    stream_label,
    sequence_number
FROM trail._differences
JOIN trail._changes USING (number);

CREATE MACRO trail.blame(partition_value, sort_value := NULL) AS TABLE
WITH told AS (
    SELECT
        *,
        coalesce(told_attributes, changed_attributes(op, old_image, new_image)) AS names,
        number = max(number) OVER (PARTITION BY item_key) AS is_last
    FROM trail._changes
    WHERE trail.is_of_key(item_key, partition_value, sort_value)
),
touched AS (
    SELECT item_key, name, max(number) AS number, count(*) AS times_changed
    FROM (SELECT item_key, number, unnest(names) AS name FROM told)
    GROUP BY item_key, name
),
present AS (
    SELECT item_key, unnest(json_keys(new_image)) AS name, new_image
    FROM told
    WHERE is_last AND op <> 'REMOVE' AND new_image IS NOT NULL
)
SELECT
    present.item_key,
    present.name AS attribute,
    plain_value(json_extract(present.new_image, '/' || pointer_step(present.name))::VARCHAR) AS value,
    changed_at AS last_changed_at,
    actor,
    change_id,
    coalesce(times_changed, 0) AS times_changed
FROM present
LEFT JOIN touched ON touched.item_key = present.item_key AND touched.name = present.name
LEFT JOIN trail._changes AS last ON last.number = touched.number
ORDER BY present.item_key, last_changed_at DESC, attribute;

CREATE VIEW trail.changes_debezium AS
SELECT
    plain_item(item_key) AS "key",
    plain_item(old_image) AS "before",
    CASE WHEN op <> 'REMOVE' THEN plain_item(new_image) END AS "after",
    {
        'connector': 'ddbtrail',
        'name': account || '/' || region,
        'ts_ms': epoch_ms(changed_at),
        'snapshot': 'false',
        'db': region,
        'sequence': sequence_number,
        'table': table_name,
        'stream_label': stream_label,
        'change_id': change_id
    } AS source,
    CASE op WHEN 'INSERT' THEN 'c' WHEN 'MODIFY' THEN 'u' ELSE 'd' END AS op,
    epoch_ms(changed_at) AS ts_ms
FROM trail._changes
CROSS JOIN trail._trail;

CREATE VIEW trail.changes_cdf AS
SELECT
    item_key,
    pk,
    sk,
    plain_item(row_image) AS item,
    row_image AS image,
    _change_type,
    sequence_number AS _commit_version,
    changed_at AS _commit_timestamp,
    stream_label,
    change_id
FROM (
    SELECT
        *,
        CASE op WHEN 'INSERT' THEN 'insert' WHEN 'MODIFY' THEN 'update_postimage' ELSE 'delete' END AS _change_type,
        CASE op WHEN 'REMOVE' THEN old_image ELSE new_image END AS row_image
    FROM trail._changes
    UNION ALL
    SELECT *, 'update_preimage', old_image
    FROM trail._changes
    WHERE op = 'MODIFY'
);

COMMENT ON VIEW trail.changes IS
'Every change of the table once. Changes of an item are ordered by (stream_label, sequence_number), never by time. Items of which evidence contradicts itself are left out.';
COMMENT ON COLUMN trail.changes.change_id IS 'eventID of the stream record';
COMMENT ON COLUMN trail.changes.dt IS 'day of changed_at, UTC';
COMMENT ON COLUMN trail.changes.hour IS 'hour of changed_at, UTC, two digits';
COMMENT ON COLUMN trail.changes.op IS 'INSERT, MODIFY or REMOVE';
COMMENT ON COLUMN trail.changes.changed_at IS 'when, as the stream says: UTC, with one second of grain; may step back';
COMMENT ON COLUMN trail.changes.sequence_number IS 'padded to 40 digits, so that text order is the order of numbers';
COMMENT ON COLUMN trail.changes.stream_label IS 'which generation of the stream';
COMMENT ON COLUMN trail.changes.item_key IS 'the key as canonical DynamoDB JSON: one text for each item';
COMMENT ON COLUMN trail.changes.pk IS 'partition key as ordered key text; NULL where the archiver did not know the key schema';
COMMENT ON COLUMN trail.changes.sk IS 'sort key as ordered key text';
COMMENT ON COLUMN trail.changes.old_item IS 'the item before as plain JSON, for reading; NULL: there was none, or the stream carried none';
COMMENT ON COLUMN trail.changes.item IS 'the item after as plain JSON, for reading';
COMMENT ON COLUMN trail.changes.old_image IS 'the item before as DynamoDB JSON, exact: this is the evidence';
COMMENT ON COLUMN trail.changes.new_image IS 'the item after as DynamoDB JSON, exact: this is the evidence';
COMMENT ON COLUMN trail.changes.changed_attributes IS 'top-level attributes whose values differ; NULL where the stream carried no image';
COMMENT ON COLUMN trail.changes.actor IS 'who made the change: from the configured attribute, or dynamodb-ttl for what expired; NULL: the trail does not say';
COMMENT ON COLUMN trail.changes.actor_source IS 'how that is known: dynamodb-ttl, attribute:PATH if the change wrote it, carried:PATH if the item only bears the name';
COMMENT ON COLUMN trail.changes.user_identity IS 'as delivered';
COMMENT ON COLUMN trail.changes.event IS 'every delivered field that no other column holds';
COMMENT ON COLUMN trail.changes.segment IS 'the object of evidence that tells of it';
COMMENT ON COLUMN trail.changes.is_sealed IS 'whether that object is sealed; NULL: nobody looked';
COMMENT ON VIEW trail.versions IS
'One row for each state of an item between two changes, deletions too (item NULL). Times are effective: valid_from inclusive, valid_to exclusive, NULL while it is current.';
COMMENT ON MACRO TABLE trail.changes_between IS
'changes_between(since, until): the changes with since <= changed_at < until; NULL leaves an end open.';
COMMENT ON MACRO TABLE trail.history IS
'history(partition_value, sort_value := NULL, since := NULL, until := NULL): the changes of an item, or of all items of a partition key, newest first.';
COMMENT ON VIEW trail.attribute_changes IS
'One row for each attribute that a change added (+), removed (-) or changed (~); old and new are plain JSON. Compared as values: sets as sets, numbers by value.';
COMMENT ON MACRO TABLE trail.blame IS
'blame(partition_value, sort_value := NULL): for each attribute that an item has now, the change that set it last.';
COMMENT ON VIEW trail.changes_debezium IS 'The changes under the names of Debezium''s envelope: key, before, after, source, op (c, u, d), ts_ms.';
COMMENT ON VIEW trail.changes_cdf IS
'The changes under the names of Delta''s change data feed: _change_type is insert, update_preimage, update_postimage or delete.';
