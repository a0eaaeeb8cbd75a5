-- The state of every item at an instant by the rules of docs/answers.md, *State*, and what is made of it. `trail` stands
-- for the schema of the table. Here in one statement, so that the instant may be any expression.
CREATE MACRO trail.states(instant_asked) AS TABLE
WITH asked AS (
    SELECT trail.instant(instant_asked) AS instant
),
placed AS (
    SELECT
        instant,
        (SELECT max({'stream_label': stream_label, 'until': until}) FROM trail._stretches WHERE since <= instant) AS latest,
        (SELECT max({'stream_label': stream_label, 'began': began}) FROM trail._ends WHERE began <= instant) AS former_end,
        (SELECT min({'stream_label': stream_label, 'began': began}) FROM trail._ends WHERE began > instant) AS next_end,
        (
            SELECT max({'from_at': from_at, 'to_at': to_at, 'baseline': baseline, 'label': stream_label})
            FROM trail._baselines
            WHERE from_at <= instant
        ) AS floor,
        (
            SELECT min({'from_at': from_at, 'to_at': to_at, 'baseline': baseline, 'label': stream_label})
            FROM trail._baselines
            WHERE from_at > instant
        ) AS following
    FROM asked
),
moment AS (
    SELECT
        instant,
        floor,
        CASE WHEN latest.until IS NULL OR instant < latest.until THEN latest.stream_label END AS covering_label,
        latest IS NULL AS is_before_coverage,
        coalesce(former_end.stream_label, '') AS table_label,
        coalesce(next_end.stream_label, '~') AS next_table_label,
        former_end IS NOT NULL AND CASE
            WHEN floor IS NULL THEN false
            WHEN floor.label IS NOT NULL THEN floor.label < former_end.stream_label
            ELSE floor.from_at < former_end.began
        END AS is_floor_of_former_table,
        CASE
            WHEN next_end IS NULL OR following IS NULL THEN following
            WHEN following.label IS NOT NULL AND following.label < next_end.stream_label THEN following
            WHEN following.label IS NULL AND following.from_at < next_end.began THEN following
        END AS ceiling
    FROM placed
),
-- P is the last change at or before the instant, N the first one after it. A change of a later table says nothing of
-- this one: its end, in between, has no before. But only what has a fact in this table or a former one meets that end.
facts AS (
    SELECT
        item_key,
        max(pk) AS pk,
        max(sk) AS sk,
        max(number) FILTER (effective_at <= instant AND stream_label >= table_label) AS p_number,
        min(number) FILTER (effective_at > instant AND stream_label >= table_label) AS n_number,
        max(effective_at) FILTER (effective_at <= instant) AS p_effective_at,
        min(effective_at) FILTER (effective_at > instant) AS first_after,
        bool_or(stream_label < table_label) AS was_changed_in_former_table,
        bool_and(stream_label >= next_table_label) AS is_of_later_table_only,
        coalesce(bool_or(changed_at BETWEEN floor.from_at AND floor.to_at), false) AS is_floor_void,
        coalesce(bool_or(changed_at BETWEEN ceiling.from_at AND ceiling.to_at), false) AS is_ceiling_void
    FROM trail._changes
    CROSS JOIN moment
    GROUP BY item_key
),
floor_items AS (
    SELECT item_key, pk, sk, image, true AS is_in_floor
    FROM trail._baseline_items
    JOIN moment ON baseline = floor.baseline
),
ceiling_items AS (
    SELECT item_key, pk, sk, image, true AS is_in_ceiling
    FROM trail._baseline_items
    JOIN moment ON baseline = ceiling.baseline
),
joined AS (
    SELECT
        coalesce(facts.item_key, floor_items.item_key, ceiling_items.item_key) AS item_key,
        coalesce(facts.pk, floor_items.pk, ceiling_items.pk) AS pk,
        coalesce(facts.sk, floor_items.sk, ceiling_items.sk) AS sk,
        p_number,
        n_number,
        p_effective_at,
        coalesce(is_in_floor, false) AS is_in_floor,
        coalesce(is_in_ceiling, false) AS is_in_ceiling,
        coalesce(was_changed_in_former_table, false) AS was_changed_in_former_table,
        coalesce(is_of_later_table_only, false) AS is_of_later_table_only,
        first_after,
        coalesce(is_floor_void, false) AS is_floor_void,
        coalesce(is_ceiling_void, false) AS is_ceiling_void,
        floor_items.image AS floor_image,
        ceiling_items.image AS ceiling_image
    FROM facts
    FULL OUTER JOIN floor_items ON floor_items.item_key = facts.item_key
    FULL OUTER JOIN ceiling_items ON ceiling_items.item_key = coalesce(facts.item_key, floor_items.item_key)
),
rowed AS (
    SELECT
        joined.*,
        moment.*,
        p.stream_label AS p_stream_label,
        p.op AS p_op,
        p.new_image AS p_image,
        p.change_id AS p_change_id,
        p.changed_at AS p_changed_at,
        p.actor AS p_actor,
        n.number IS NOT NULL AND (
            n.stream_label < next_table_label
            OR (
                is_of_later_table_only
                AND NOT (floor IS NOT NULL AND NOT is_floor_void)
                AND NOT (ceiling IS NOT NULL AND NOT is_ceiling_void)
            )
        ) AS is_n_here,
        n.stream_label AS n_stream_label,
        n.op AS n_op,
        n.old_image AS n_image,
        n.effective_at AS n_effective_at
    FROM joined
    CROSS JOIN moment
    LEFT JOIN trail._changes AS p ON p.number = joined.p_number
    LEFT JOIN trail._changes AS n ON n.number = joined.n_number
),
sided AS (
    SELECT
        *,
        was_changed_in_former_table OR (is_in_floor AND is_floor_of_former_table) AS was_in_former_table,
        floor IS NOT NULL AND NOT is_floor_void AND (first_after IS NULL OR first_after > floor.to_at) AS is_floor_past,
        is_floor_past AND NOT is_floor_of_former_table AND (p_number IS NULL OR p_effective_at < floor.from_at)
            AS is_floor_p,
        ceiling IS NOT NULL AND NOT is_ceiling_void AND (NOT is_n_here OR n_effective_at > ceiling.to_at) AS is_ceiling_n,
        p_number IS NOT NULL OR was_in_former_table OR (is_in_floor AND is_floor_past) AS was_before,
        CASE WHEN is_floor_p THEN 'baseline' WHEN p_number IS NOT NULL THEN 'change' WHEN was_in_former_table THEN 'end' END
            AS p_kind,
        CASE WHEN is_ceiling_n THEN 'baseline' WHEN is_n_here THEN 'change' END AS n_kind
    FROM rowed
),
known AS (
    SELECT
        *,
        coalesce(
            CASE p_kind WHEN 'baseline' THEN floor.label WHEN 'change' THEN p_stream_label WHEN 'end' THEN table_label END
            = covering_label,
            false
        ) AS is_p_covered,
        coalesce(
            CASE n_kind WHEN 'baseline' THEN ceiling.label WHEN 'change' THEN n_stream_label END = covering_label, false
        ) AS is_n_covered,
        CASE p_kind
            WHEN 'end' THEN true WHEN 'baseline' THEN true
            WHEN 'change' THEN p_op = 'REMOVE' OR p_image IS NOT NULL
            ELSE false
        END AS is_p_known,
        CASE n_kind WHEN 'baseline' THEN true WHEN 'change' THEN n_op = 'INSERT' OR n_image IS NOT NULL ELSE false END
            AS is_n_known,
        CASE p_kind WHEN 'baseline' THEN floor_image WHEN 'change' THEN CASE WHEN p_op <> 'REMOVE' THEN p_image END END
            AS after_image,
        CASE n_kind WHEN 'baseline' THEN ceiling_image WHEN 'change' THEN CASE WHEN n_op <> 'INSERT' THEN n_image END END
            AS before_image
    FROM sided
),
judged AS (
    SELECT
        *,
        CASE
            WHEN p_kind = 'end' AND is_n_covered AND is_n_known THEN 'n'
            WHEN is_p_covered AND is_p_known THEN 'p'
            WHEN is_n_covered AND is_n_known THEN 'n'
            WHEN NOT is_p_known OR NOT is_n_known THEN 'unknown'
            WHEN after_image IS NULL AND before_image IS NULL THEN 'both'
            WHEN after_image IS NULL OR before_image IS NULL THEN 'unknown'
            WHEN after_image = before_image THEN 'both'
            ELSE 'compare'
        END AS judgement
    FROM known
),
compared AS (
    SELECT
        *,
        value_text(CASE WHEN judgement = 'compare' THEN after_image END)
        = value_text(CASE WHEN judgement = 'compare' THEN before_image END) AS is_same_value
    FROM judged
),
ruled AS (
    SELECT
        *,
        CASE WHEN judgement <> 'compare' THEN judgement WHEN is_same_value THEN 'both' ELSE 'unknown' END AS rule,
        CASE rule WHEN 'n' THEN before_image WHEN 'unknown' THEN NULL ELSE after_image END AS image,
        rule IN ('p', 'both') AND p_kind = 'change' AS rests_on_change
    FROM compared
)
SELECT
    item_key,
    pk,
    sk,
    CASE
        WHEN rule = 'unknown' THEN 'unknown'
        WHEN image IS NOT NULL THEN 'existed'
        WHEN was_before THEN 'already-deleted'
        ELSE 'not-yet-created'
    END AS outcome,
    plain_item(image) AS item,
    image,
    CASE WHEN rests_on_change THEN p_changed_at END AS changed_at,
    CASE WHEN rests_on_change THEN p_effective_at END AS valid_from,
    CASE WHEN rests_on_change THEN p_change_id END AS change_id,
    CASE WHEN rests_on_change THEN p_actor END AS actor,
    CASE rule
        WHEN 'n' THEN CASE n_kind WHEN 'baseline' THEN 'baseline' ELSE 'old-image' END
        WHEN 'p' THEN CASE p_kind WHEN 'end' THEN 'table-end' ELSE p_kind END
        WHEN 'both' THEN 'agreement'
        ELSE 'nothing'
    END AS basis,
    CASE
        WHEN rule <> 'unknown' THEN NULL
        WHEN p_kind IS NULL AND n_kind IS NULL THEN 'no-fact'
        WHEN (is_p_covered AND NOT is_p_known) OR (is_n_covered AND NOT is_n_known) THEN 'missing-image'
        WHEN is_before_coverage THEN 'before-coverage'
        ELSE 'gap'
    END AS reason
FROM ruled;

CREATE MACRO trail.as_of(instant_asked) AS TABLE
SELECT item_key, pk, sk, item, image, changed_at, valid_from, change_id, actor
FROM trail.states(instant_asked)
WHERE outcome = 'existed';

CREATE MACRO trail.compare(from_instant, to_instant) AS TABLE
SELECT
    coalesce(older.item_key, newer.item_key) AS item_key,
    CASE
        WHEN 'unknown' IN (older.outcome, newer.outcome) THEN 'unknown'
        WHEN older.image IS NULL THEN 'added'
        WHEN newer.image IS NULL THEN 'removed'
        ELSE 'modified'
    END AS diff_type,
    coalesce(older.pk, newer.pk) AS pk,
    coalesce(older.sk, newer.sk) AS sk,
    older.item AS from_item,
    newer.item AS to_item,
    older.image AS from_image,
    newer.image AS to_image,
    newer.change_id
FROM trail.states(from_instant) AS older
FULL OUTER JOIN trail.states(to_instant) AS newer ON newer.item_key = older.item_key
WHERE
    'unknown' IN (older.outcome, newer.outcome)
    OR (older.image IS NULL) <> (newer.image IS NULL)
    OR (
        older.image <> newer.image
        AND value_text(older.image) <> value_text(newer.image)
    );

COMMENT ON MACRO TABLE trail.states IS
'states(instant): every item that the trail tells of with its outcome then: existed, already-deleted, not-yet-created, or unknown with the reason.';
COMMENT ON MACRO TABLE trail.as_of IS
'as_of(instant): the items that existed, every change up to and including that second counted. Of items in state unknown it says nothing: states(instant) names them.';
COMMENT ON MACRO TABLE trail.compare IS
'compare(from, to): items added, removed or modified between two instants; unknown where the trail cannot tell of one of them.';
