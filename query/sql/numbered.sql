-- The changes with their sequence numbers as numbers; NULL: it has more digits than a number holds.
CREATE TEMP VIEW numbered AS SELECT *, TRY_CAST(sequence_number AS HUGEINT) AS number FROM changes
