-- Where the row stands that tells of each item last.
CREATE TEMP TABLE placed AS SELECT min(place) AS place FROM told GROUP BY item_key
