-- How many items that existed stand in each file, by rank.
SELECT rank_of(place), count(*)
FROM placed
WHERE existed_at(place)
GROUP BY 1
ORDER BY 1
