-- The rows of a small trail, read once for every question.
CREATE TABLE loaded AS SELECT * FROM changes
