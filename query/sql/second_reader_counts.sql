-- How many disagreements there are of each kind, a change counted once.
SELECT kind, count(DISTINCT (item_key, sequence_number)) FROM disagreements GROUP BY kind
