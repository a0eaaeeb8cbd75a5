-- Changes by actor, how it is known or why it is not, and the number that stood there before where its text was another
-- one: both may be the same number. Each image is parsed once, and what is found there is looked at once for all changes
-- that have it.
WITH found AS (
    SELECT
        op,
        is_by_ttl(user_identity) AS is_ttl,
        old_image IS NOT NULL AS has_old,
        new_image IS NOT NULL AS has_new,
        CASE WHEN op <> 'REMOVE' THEN actor_value(new_image) END AS value,
        CASE WHEN op = 'MODIFY' THEN actor_value(old_image) END AS old_value,
        count(*) AS changes
    FROM stat_counted
    GROUP BY ALL
)
SELECT
    CASE WHEN is_ttl THEN 'dynamodb-ttl' ELSE name_of(value) END AS name,
    CASE
        WHEN is_ttl THEN 'dynamodb-ttl'
        WHEN getvariable('pointer_to_actor') IS NULL THEN 'not-configured'
        WHEN op = 'REMOVE' THEN 'delete'
        WHEN NOT has_new THEN 'no-image'
        WHEN value IS NULL THEN 'no-attribute'
        WHEN name_of(value) IS NULL THEN 'not-a-name'
        WHEN op = 'INSERT' OR (has_old AND old_value IS DISTINCT FROM value) THEN 'attribute'
        ELSE 'carried'
    END AS known,
    coalesce(json_extract_string(value, '$.N') IS NOT NULL, false) AS is_number,
    CASE
        WHEN json_extract_string(old_value, '$.N') <> json_extract_string(value, '$.N')
            THEN json_extract_string(old_value, '$.N')
    END AS before,
    sum(changes)::BIGINT
FROM found
GROUP BY name, known, is_number, before
ORDER BY ALL
