-- The images on both sides of a gap.
CREATE OR REPLACE TEMP VIEW compared AS
SELECT
    states.item_key,
    answers.image,
    CASE n_kind WHEN 'baseline' THEN ceiling.image ELSE n_image END AS other_image
FROM states
JOIN answers USING (item_key)
LEFT JOIN n_rows USING (n_row)
LEFT JOIN ceiling ON ceiling.item_key = states.item_key
WHERE states.rule = 'compare'
