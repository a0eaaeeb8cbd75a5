-- Every change once. Of several rows that tell of it one that is sealed is taken; `latest_at` is the latest time that any
-- of them states, and `is_contradicted` whether two of them tell it otherwise, as values: only then is anything parsed.
WITH grouped AS (
    SELECT
        item_key,
        stream_label,
        sequence_number,
        min_by(
            struct(change_id, op, changed_at, old_image, new_image, user_identity, event, segment, is_sealed),
            struct(coalesce(NOT is_sealed, false), segment, position)
        ) AS told,
        max(pk) AS pk,
        max(sk) AS sk,
        max(changed_at) AS latest_at,
        collect_set(struct(op, changed_at, old_image, new_image)) AS tellings
    FROM evidence
    GROUP BY item_key, stream_label, sequence_number
)
SELECT
    item_key,
    pk,
    sk,
    stream_label,
    sequence_number,
    told.*,
    latest_at,
    coalesce(contradict(CASE WHEN size(tellings) > 1 THEN tellings END), false) AS is_contradicted
FROM grouped
