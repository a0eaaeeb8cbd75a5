-- What a trail covers: the stretches of each generation of its stream, and the gaps between them.
CREATE MACRO trail.instant(written) AS (
    SELECT CASE
        WHEN told.moment > greatest(asked_at, now()) THEN error('''' || written || ''' is in the future')
        ELSE told.moment
    END
    FROM (SELECT instant_of(written) AS moment, asked_at FROM trail._trail) AS told
);

CREATE VIEW trail.coverage AS
WITH stretches AS (
    SELECT
        stream_label,
        since,
        until,
        lead(stream_label) OVER labels AS next_label,
        lead(since) OVER labels AS next_since
    FROM trail._stretches
    WINDOW labels AS (ORDER BY stream_label)
)
SELECT 'covered' AS kind, since, until, stream_label, NULL AS cause
FROM stretches
UNION ALL
SELECT
    'gap',
    until,
    next_since,
    NULL,
    CASE
        WHEN EXISTS (
            SELECT 1 FROM trail._ends AS ends WHERE ends.stream_label > stretches.stream_label AND ends.stream_label <= next_label
        ) THEN 'between-tables'
        ELSE 'between-streams'
    END
FROM stretches
WHERE until < next_since
ORDER BY since, kind;

COMMENT ON VIEW trail.coverage IS
'What the trail can answer for: covered stretches (until NULL: still going on) and the gaps between them. Times are UTC; until is exclusive.';
COMMENT ON COLUMN trail.coverage.kind IS 'covered or gap';
COMMENT ON COLUMN trail.coverage.cause IS 'of a gap: between-streams, or between-tables where the table was deleted and made again';
