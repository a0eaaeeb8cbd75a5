-- The same rows, each with the key text that any other row of its item has, so that an item's rows stand together.
WITH hints AS (
    SELECT item_key, max(pk) AS known_pk, max(sk) AS known_sk
    FROM unordered
    WHERE item_key IN (SELECT item_key FROM unordered WHERE pk IS NULL)
    GROUP BY item_key
)
SELECT unordered.* EXCEPT (pk, sk), coalesce(pk, known_pk) AS pk, coalesce(sk, known_sk) AS sk
FROM unordered
LEFT JOIN hints ON hints.item_key = unordered.item_key
