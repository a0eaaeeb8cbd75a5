-- Whether a time (epoch ms) is in the half-open range that is asked about; NULL leaves an end open.
CREATE OR REPLACE TEMP MACRO is_in_range(at_ms) AS
    (getvariable('since_ms') IS NULL OR at_ms >= getvariable('since_ms')::BIGINT)
    AND (getvariable('until_ms') IS NULL OR at_ms < getvariable('until_ms')::BIGINT);
-- Who made a change, as query/actor.py says it. The variable pointer_to_actor is the JSON pointer to the attribute in an
-- image, NULL where none is configured; what stands there is a value with its type, such as {"S":"bob"}.
CREATE OR REPLACE TEMP MACRO is_by_ttl(user_identity) AS
    coalesce(json_extract_string(user_identity, '$.principalId') = 'dynamodb.amazonaws.com', false);
CREATE OR REPLACE TEMP MACRO actor_value(image) AS json_extract(image, getvariable('pointer_to_actor')::VARCHAR)::VARCHAR;
CREATE OR REPLACE TEMP MACRO name_of(value) AS
    coalesce(json_extract_string(value, '$.S'), json_extract_string(value, '$.N'));
CREATE OR REPLACE TEMP MACRO actor_name(op, new_image, user_identity) AS CASE
    WHEN is_by_ttl(user_identity) THEN 'dynamodb-ttl' WHEN op <> 'REMOVE' THEN name_of(actor_value(new_image))
END;
CREATE OR REPLACE TEMP MACRO known_by(is_ttl, op, has_new, value, is_written) AS CASE
    WHEN is_ttl THEN 'dynamodb-ttl'
    WHEN op = 'REMOVE' THEN 'delete'
    WHEN NOT has_new THEN 'no-image'
    WHEN value IS NULL THEN 'no-attribute'
    WHEN name_of(value) IS NULL THEN 'not-a-name'
    WHEN is_written THEN 'attribute'
    ELSE 'carried'
END;
-- Whether a change is about one of the attributes asked for; one that cannot tell what it changed may be.
CREATE OR REPLACE TEMP MACRO is_about(old_image, new_image, changed_attributes) AS
    changed_attributes IS NULL
    OR list_has_any(changed_attributes, getvariable('about_names')::VARCHAR[])
    OR len(list_filter(
        getvariable('about_paths')::VARCHAR[],
        lambda path: json_extract(old_image, path)::VARCHAR IS DISTINCT FROM json_extract(new_image, path)::VARCHAR
    )) > 0;
