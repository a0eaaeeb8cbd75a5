-- The changes that can be an item's last one at or before the instant, or its first one after it. In a run each row says
-- what it follows and what follows it, so one look at it is enough; and what lies in the interval of a baseline is seen.
CREATE OR REPLACE TEMP VIEW candidates AS
SELECT *
FROM changes
WHERE
    (
        effective_ms <= getvariable('moment').at_ms
        AND (superseded_ms IS NULL OR superseded_ms > getvariable('moment').at_ms)
    )
    OR (
        getvariable('moment').has_later
        AND effective_ms > getvariable('moment').at_ms
        AND (preceded_ms IS NULL OR preceded_ms <= getvariable('moment').at_ms)
    )
    OR changed_at_ms BETWEEN getvariable('floor').void_from_ms AND getvariable('floor').void_to_ms
    OR changed_at_ms BETWEEN getvariable('ceiling').void_from_ms AND getvariable('ceiling').void_to_ms
