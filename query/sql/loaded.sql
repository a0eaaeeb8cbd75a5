-- The rows of a small trail, read once for every question.
CREATE OR REPLACE TABLE loaded AS SELECT * FROM changes
