-- Items of which an older layer may tell a later change than a newer one, in order or in time, or the same; and of which a
-- change after the instant may stand before one that is told. What each file is to be compared with stands by its rank.
CREATE OR REPLACE TEMP TABLE suspects AS
SELECT item_key
FROM told
WHERE
    ord >= getvariable('newer_from')[rank_of(place) + 1].ord
    OR effective_ms > getvariable('newer_from')[rank_of(place) + 1].ms
UNION
SELECT item_key
FROM following
WHERE ord <= getvariable('others_to')
