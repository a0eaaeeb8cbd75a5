-- For Athena: the items that exist now, by their newest change. Deletions are dropped last, or the change before one
-- would bring the item back. `unknown` (no image): the newest change stands before a gap, or came without an image.
-- `conflict` (no image): a change of the item is told in different words, so no answer is given.
WITH newest AS (SELECT max(stream_label) AS stream_label FROM changes),
told AS (
    SELECT *, count(*) OVER (PARTITION BY item_key, stream_label, sequence_number) AS told FROM changes
),
ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY item_key ORDER BY stream_label DESC, sequence_number DESC) AS place,
        max(told) OVER (PARTITION BY item_key) AS most_told,
        max(changed_at) OVER (PARTITION BY item_key) AS valid_from,
        stream_label = (SELECT stream_label FROM newest) AS is_covered
    FROM told
),
judged AS (
    SELECT
        *,
        CASE
            WHEN most_told > 1 THEN 'conflict'
            WHEN is_covered AND op = 'REMOVE' THEN 'deleted'
            WHEN is_covered AND new_image IS NOT NULL THEN 'existed'
            ELSE 'unknown'
        END AS outcome
    FROM ranked
    WHERE place = 1
)
SELECT
    item_key,
    pk,
    sk,
    outcome,
    CASE WHEN outcome = 'existed' THEN new_image END AS image,
    CASE WHEN outcome = 'existed' THEN changed_at END AS changed_at,
    CASE WHEN outcome = 'existed' THEN change_id END AS change_id,
    CASE WHEN outcome = 'existed' THEN valid_from END AS valid_from
FROM judged
WHERE outcome <> 'deleted'
