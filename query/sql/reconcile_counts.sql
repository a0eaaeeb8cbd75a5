-- How many items there are of each verdict.
SELECT verdict, count(*) FROM reconciled GROUP BY verdict
