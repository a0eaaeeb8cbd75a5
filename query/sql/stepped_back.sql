-- Items whose clock stepped back across the instant: a change at or before it stands behind one after it. Effective time
-- never steps back, so everything from the first change after the instant on is after it.
CREATE TEMP TABLE stepped_back AS
SELECT item_key, split_part(n, ' ', 1) || ' ' || split_part(n, ' ', 2) AS first_after
FROM facts
WHERE
    n IS NOT NULL
    AND (
        split_part(n, ' ', 1) || ' ' || split_part(n, ' ', 2) <= split_part(p, ' ', 1) || ' ' || split_part(p, ' ', 2)
        OR split_part(n, ' ', 1) < getvariable('table_label')
    )
