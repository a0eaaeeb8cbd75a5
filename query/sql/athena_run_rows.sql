-- For Athena: the rows of runs as those of segments, each with the day and the hour of its change.
SELECT
    change_id,
    op,
    changed_at,
    sequence_number,
    stream_label,
    item_key,
    pk,
    sk,
    old_image,
    new_image,
    user_identity,
    event,
    CAST(CAST(changed_at AS date) AS varchar) AS dt,
    CAST(hour(changed_at) AS integer) AS hour
FROM runs
