-- Where the row stands that tells of each item last.
CREATE TEMP TABLE placed AS SELECT min(place) AS place FROM located GROUP BY item
