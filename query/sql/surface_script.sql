-- The tables that the relations rest on, read from segments and baselines as they lie there. Nothing is verified. The
-- relations `_told` (rows of segments) and `_baseline_told` (items of baselines) stand above; items of which rows
-- contradict each other as values are in `_conflicting`, and in no other relation.
CREATE VIEW trail._conflicting AS
WITH repeated AS (
    SELECT item_key, stream_label, sequence_number
    FROM trail._told
    GROUP BY ALL
    HAVING count(*) > 1 AND count(DISTINCT (op, changed_at, old_image, new_image)) > 1
)
SELECT DISTINCT item_key
FROM (
    SELECT item_key, stream_label, sequence_number
    FROM trail._told
    JOIN repeated USING (item_key, stream_label, sequence_number)
    GROUP BY ALL
    HAVING count(DISTINCT (op, changed_at, value_text(old_image), value_text(new_image))) > 1
);

CREATE VIEW trail._changes AS
WITH once AS (
    SELECT
        item_key,
        stream_label,
        sequence_number,
        min({'file': filename, 'row': file_row_number}) AS teller,
        any_value(changed_at) AS changed_at
    FROM trail._told
    WHERE item_key NOT IN (FROM trail._conflicting)
    GROUP BY item_key, stream_label, sequence_number
),
numbered AS (
    SELECT
        teller,
        row_number() OVER (ORDER BY stream_label, sequence_number, item_key) AS number,
        max(changed_at) OVER (PARTITION BY item_key ORDER BY stream_label, sequence_number) AS effective_at
    FROM once
)
SELECT
    number,
    change_id,
    op,
    sequence_number,
    stream_label,
    item_key,
    pk,
    sk,
    old_image,
    new_image,
    user_identity,
    event,
    filename AS told_by,
    NULL::VARCHAR[] AS told_attributes,
    changed_at,
    effective_at,
    CASE WHEN user_identity->>'principalId' = 'dynamodb.amazonaws.com' THEN 'dynamodb-ttl' END AS actor,
    CASE WHEN user_identity->>'principalId' = 'dynamodb.amazonaws.com' THEN 'dynamodb-ttl' END AS actor_source
FROM trail._told AS told
JOIN numbered ON told.filename = teller.file AND told.file_row_number = teller.row;

CREATE VIEW trail._segments AS
SELECT DISTINCT filename AS told_by, regexp_extract(filename, 'v1/account=.*') AS segment, NULL::BOOLEAN AS is_sealed
FROM trail._told;

CREATE VIEW trail._baseline_items AS
SELECT baseline, item_key, pk, sk, image
FROM trail._baseline_told
WHERE item_key NOT IN (FROM trail._conflicting);

CREATE VIEW trail._stretches AS
WITH told AS (
    SELECT stream_label, min(changed_at) AS first_at, max(changed_at) AS last_at
    FROM trail._told
    GROUP BY stream_label
),
reached AS (
    SELECT
        told.stream_label,
        least(first_at, min(from_at)) AS since,
        greatest(last_at, max(to_at)) AS until
    FROM told
    LEFT JOIN trail._baselines AS baselines ON baselines.stream_label = told.stream_label
    GROUP BY told.stream_label, first_at, last_at
)
SELECT
    stream_label, since, CASE WHEN stream_label < (SELECT max(stream_label) FROM reached) THEN until END AS until
FROM reached;

-- What each change did, attribute by attribute: maps are gone into name by name, lists place by place, as long as both
-- images have one there.
CREATE VIEW trail._differences AS
WITH RECURSIVE walk AS (
    SELECT
        number,
        '' AS path,
        'M' AS inside,
        coalesce(old_image, json_object())::VARCHAR AS old_inside,
        coalesce(new_image, json_object())::VARCHAR AS new_inside,
        NULL::VARCHAR AS old_value,
        NULL::VARCHAR AS new_value
    FROM trail._changes
    WHERE is_comparable(op, old_image, new_image)
    UNION ALL
    SELECT
        number,
        CASE
            WHEN inside = 'L' THEN path || '[' || step || ']'
            WHEN regexp_full_match(step, '[\pL_][\pL\pN_-]*')
                THEN path || CASE path WHEN '' THEN '' ELSE '.' END || step
            ELSE path || '[' || to_json(step)::VARCHAR || ']'
        END,
        CASE
            WHEN json_exists(old_value, '/M') AND json_exists(new_value, '/M') THEN 'M'
            WHEN json_exists(old_value, '/L') AND json_exists(new_value, '/L') THEN 'L'
        END AS further,
        json_extract(old_value, '/' || further)::VARCHAR,
        json_extract(new_value, '/' || further)::VARCHAR,
        old_value,
        new_value
    FROM (
        SELECT
            *,
            json_extract(old_inside, '/' || pointer_step(step))::VARCHAR AS old_value,
            json_extract(new_inside, '/' || pointer_step(step))::VARCHAR AS new_value
        FROM (
            SELECT
                number,
                path,
                inside,
                old_inside,
                new_inside,
                unnest(CASE inside
                    WHEN 'M' THEN list_distinct(list_concat(json_keys(old_inside), json_keys(new_inside)))
                    ELSE range(greatest(json_array_length(old_inside), json_array_length(new_inside))::BIGINT)::VARCHAR[]
                END) AS step
            FROM walk
            WHERE inside IS NOT NULL
        )
    )
)
SELECT
    number,
    path,
    CASE WHEN old_value IS NULL THEN '+' WHEN new_value IS NULL THEN '-' ELSE '~' END AS kind,
    plain_value(old_value) AS old,
    plain_value(new_value) AS new
FROM walk
WHERE
    path <> ''
    AND inside IS NULL
    AND (
        old_value IS NULL OR new_value IS NULL
        OR (
            old_value <> new_value
            AND value_text('{"v":' || old_value || '}') <> value_text('{"v":' || new_value || '}')
        )
    );
