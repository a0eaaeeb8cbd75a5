-- Of each item the last change at or before an instant, by the rows of segments alone, and the key text that any row has.
CREATE OR REPLACE TEMP TABLE winners AS
WITH told AS (
    SELECT
        item_key, stream_label, sequence_number,
        max(epoch_ms(changed_at)) AS changed_ms,
        max(pk) AS pk,
        max(sk) AS sk
    FROM unordered
    GROUP BY ALL
),
in_order AS (
    SELECT
        item_key, stream_label, sequence_number,
        max(changed_ms) OVER (PARTITION BY item_key ORDER BY stream_label, sequence_number) AS effective_ms,
        max(pk) OVER (PARTITION BY item_key) AS pk,
        max(sk) OVER (PARTITION BY item_key) AS sk
    FROM told
)
SELECT *
FROM in_order
WHERE effective_ms <= getvariable('snapshot').at_ms
QUALIFY row_number() OVER (PARTITION BY item_key ORDER BY stream_label DESC, sequence_number DESC) = 1
