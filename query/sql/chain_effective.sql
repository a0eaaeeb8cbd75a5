-- Clocks may step back, the order of changes does not: beside baselines, a change counts as made when the latest one up to
-- it was.
CREATE OR REPLACE TEMP TABLE chain AS
SELECT * REPLACE (
    max(changed_at_ms) OVER (PARTITION BY item ORDER BY label, number, row_id ROWS UNBOUNDED PRECEDING) AS effective_ms
)
FROM chain
