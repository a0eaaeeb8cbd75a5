-- The same where the actor stands at top level, without old images: a text that differs is another value, unless both are
-- numbers. Whether any of these are is the last column.
WITH found AS (
    SELECT
        op,
        is_by_ttl(user_identity) AS is_ttl,
        op = 'MODIFY' AND coalesce(list_contains(changed_attributes, $actor_attribute), false) AS is_touched,
        new_image IS NOT NULL AS has_new,
        CASE WHEN op <> 'REMOVE' THEN actor_value(new_image) END AS value,
        count(*) AS changes
    FROM stat_counted
    GROUP BY ALL
)
SELECT
    CASE WHEN is_ttl THEN 'dynamodb-ttl' ELSE name_of(value) END AS name,
    known_by(is_ttl, op, has_new, value, op = 'INSERT' OR is_touched) AS known,
    coalesce(json_extract_string(value, '$.N') IS NOT NULL, false) AS is_number,
    NULL::VARCHAR AS before,
    sum(changes)::BIGINT,
    bool_or(is_touched AND is_number)
FROM found
GROUP BY name, known, is_number
ORDER BY ALL
