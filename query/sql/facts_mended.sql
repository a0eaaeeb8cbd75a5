-- Puts the mended facts in place.
UPDATE facts
SET
    p_row = row_of(p),
    p_label = label_of(p),
    is_p_tied = coalesce(is_tied(p, p_mirror), false),
    n_row = row_of(n),
    n_label = label_of(n),
    is_n_tied = coalesce(is_tied(n, n_mirror), false),
    n_ms = ms_of(n),
    p_effective_ms = mended.p_effective_ms
FROM mended
WHERE facts.item_key = mended.item_key
