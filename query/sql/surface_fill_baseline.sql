-- The items of a baseline, but for those of which evidence contradicts itself.
SELECT item_key, pk, sk, image FROM floor WHERE NOT list_contains($conflicting, item_key)
