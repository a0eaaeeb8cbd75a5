-- For Athena: the items that existed at an instant (UTC, the one parameter), by the rules of docs/answers.md for changes
-- alone: the last change at or before it, else what the first one after it says of the moment before. `unknown` and
-- `conflict` as in the view of the present. Effective time is the running maximum of changed_at in an item's order.
WITH moment AS (SELECT CAST(? AS timestamp) AS instant),
spans AS (
    SELECT stream_label, min(changed_at) AS started_at, max(changed_at) AS ended_at FROM changes GROUP BY stream_label
),
begun AS (SELECT max(stream_label) AS stream_label FROM spans CROSS JOIN moment WHERE started_at <= instant),
covering AS (
    SELECT spans.stream_label
    FROM spans
    JOIN begun ON begun.stream_label = spans.stream_label
    CROSS JOIN moment
    WHERE instant < ended_at OR spans.stream_label = (SELECT max(stream_label) FROM spans)
),
timed AS (
    SELECT
        *,
        count(*) OVER (PARTITION BY item_key, stream_label, sequence_number) AS told,
        max(changed_at) OVER (PARTITION BY item_key ORDER BY stream_label, sequence_number) AS effective_at
    FROM changes
),
placed AS (
    SELECT timed.*, effective_at <= instant AS is_past, max(told) OVER (PARTITION BY item_key) AS most_told
    FROM timed
    CROSS JOIN moment
),
ranked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY item_key, is_past
            ORDER BY
                CASE WHEN is_past THEN stream_label END DESC,
                CASE WHEN is_past THEN sequence_number END DESC,
                stream_label,
                sequence_number
        ) AS place
    FROM placed
),
earlier AS (
    SELECT
        *,
        op = 'REMOVE' OR new_image IS NOT NULL AS is_known,
        CASE WHEN op <> 'REMOVE' THEN new_image END AS image
    FROM ranked
    WHERE is_past AND place = 1
),
later AS (
    SELECT
        *,
        op = 'INSERT' OR old_image IS NOT NULL AS is_known,
        CASE WHEN op <> 'INSERT' THEN old_image END AS image
    FROM ranked
    WHERE NOT is_past AND place = 1
),
ruled AS (
    SELECT
        coalesce(earlier.item_key, later.item_key) AS item_key,
        coalesce(earlier.pk, later.pk) AS pk,
        coalesce(earlier.sk, later.sk) AS sk,
        CASE
            WHEN coalesce(earlier.most_told, later.most_told) > 1 THEN 'conflict'
            WHEN earlier.is_known AND earlier.stream_label = (SELECT stream_label FROM covering) THEN 'earlier'
            WHEN later.is_known AND later.stream_label = (SELECT stream_label FROM covering) THEN 'later'
            WHEN earlier.is_known AND later.is_known AND earlier.image IS NOT DISTINCT FROM later.image THEN 'earlier'
            ELSE 'unknown'
        END AS rule,
        earlier.image AS earlier_image,
        later.image AS later_image,
        earlier.changed_at AS earlier_changed_at,
        earlier.change_id AS earlier_change_id,
        earlier.effective_at AS earlier_effective_at
    FROM earlier
    FULL OUTER JOIN later ON earlier.item_key = later.item_key
),
answered AS (
    SELECT
        item_key,
        pk,
        sk,
        CASE WHEN rule IN ('earlier', 'later') THEN 'existed' ELSE rule END AS outcome,
        CASE rule WHEN 'earlier' THEN earlier_image WHEN 'later' THEN later_image END AS image,
        CASE WHEN rule = 'earlier' THEN earlier_changed_at END AS changed_at,
        CASE WHEN rule = 'earlier' THEN earlier_change_id END AS change_id,
        CASE WHEN rule = 'earlier' THEN earlier_effective_at END AS valid_from
    FROM ruled
)
SELECT * FROM answered WHERE outcome <> 'existed' OR image IS NOT NULL
