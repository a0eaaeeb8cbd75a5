-- How many items existed; how many cannot be told this way: an image was not carried, or the change is of another stream.
SELECT
    count(*) FILTER (image IS NOT NULL),
    count(*) FILTER (
        basis = 'change'
        AND ((image IS NULL AND op <> 'REMOVE') OR stream_label <> getvariable('layers').covering_label)
    )
FROM settled
