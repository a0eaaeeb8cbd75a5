-- Images on both sides of a gap that are the same text are surely the same value.
UPDATE states
SET rule = 'both', basis = 'agreement', reason = NULL
WHERE rule = 'compare' AND item_key IN (SELECT item_key FROM compared WHERE image = other_image)
