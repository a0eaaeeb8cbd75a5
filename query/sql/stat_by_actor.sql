-- Changes by actor, how it is known or why it is not, and the number that stood there before where its text was another
-- one: both may be the same number. A new image is parsed once; the old one only where the attribute of top level in which
-- the actor stands ($actor_attribute) may differ. What is found is looked at once for all changes that have it.
WITH touched AS (
    SELECT
        op, user_identity, new_image, old_image,
        op = 'MODIFY' AND coalesce(list_contains(changed_attributes, $actor_attribute), false) AS is_touched
    FROM stat_counted
),
found AS (
    SELECT
        op,
        is_by_ttl(user_identity) AS is_ttl,
        is_touched,
        new_image IS NOT NULL AS has_new,
        CASE WHEN op <> 'REMOVE' THEN actor_value(new_image) END AS value,
        CASE WHEN is_touched THEN actor_value(old_image) END AS old_value,
        count(*) AS changes
    FROM touched
    GROUP BY ALL
)
SELECT
    CASE WHEN is_ttl THEN 'dynamodb-ttl' ELSE name_of(value) END AS name,
    known_by(is_ttl, op, has_new, value, op = 'INSERT' OR (is_touched AND old_value IS DISTINCT FROM value)) AS known,
    coalesce(json_extract_string(value, '$.N') IS NOT NULL, false) AS is_number,
    CASE
        WHEN json_extract_string(old_value, '$.N') <> json_extract_string(value, '$.N')
            THEN json_extract_string(old_value, '$.N')
    END AS before,
    sum(changes)::BIGINT
FROM found
GROUP BY name, known, is_number, before
ORDER BY ALL
