-- The changes of a trail, as they come from its evidence; who made one is told, or else DynamoDB itself for what expired.
CREATE OR REPLACE TABLE trail._changes AS
SELECT
    * EXCLUDE (changed_at_ms, effective_ms, told_actor, told_actor_source),
    make_timestamptz(changed_at_ms * 1000) AS changed_at,
    make_timestamptz(effective_ms * 1000) AS effective_at,
    user_identity->>'principalId' IS NOT DISTINCT FROM 'dynamodb.amazonaws.com' AS is_ttl,
    CASE WHEN is_ttl THEN 'dynamodb-ttl' ELSE told_actor END AS actor,
    CASE WHEN is_ttl THEN 'dynamodb-ttl' ELSE told_actor_source END AS actor_source
FROM incoming;

CREATE OR REPLACE VIEW trail._differences AS
SELECT number, one.path, one.kind, one.old, one.new
FROM (
    SELECT number, unnest(coalesce(told_differences, attribute_differences(op, old_image, new_image))) AS one
    FROM trail._changes
);
