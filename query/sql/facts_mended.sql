-- Puts the mended facts in place.
UPDATE facts
SET
    p = mended.p,
    p_mirror = mended.p_mirror,
    n = mended.n,
    n_mirror = mended.n_mirror,
    p_effective_ms = mended.p_effective_ms
FROM mended
WHERE facts.item_key = mended.item_key
