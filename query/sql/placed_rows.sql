-- The rows of those items, file by file.
SELECT row_at(place) AS row
FROM placed
WHERE existed_at(place) AND rank_of(place) > 0
ORDER BY place
