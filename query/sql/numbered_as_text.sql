-- The changes with their sequence numbers as they stand there: of one length, so they have the same order.
CREATE OR REPLACE TEMP VIEW numbered AS SELECT *, sequence_number AS number FROM changes
