-- The items that existed, in a steady order; with guesses, those of unknown state too where a fact on one side shows one.
SELECT * EXCLUDE (rests_on_change)
FROM answers
WHERE image IS NOT NULL AND ($with_guesses OR rule IN ('n', 'p', 'both'))
ORDER BY item_key
