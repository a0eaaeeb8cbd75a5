-- How many items existed; and how many were settled by a change of a stream that does not cover the instant.
SELECT
    count(*) FILTER (existed),
    count(*) FILTER (basis = 'change' AND stream_label <> getvariable('layers').covering_label)
FROM settled
