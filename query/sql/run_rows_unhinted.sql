-- The rows of a run in no order, key text as each of them has it.
SELECT * FROM unordered
