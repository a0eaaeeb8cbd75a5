-- What a baseline shows of items at a link that seems broken.
INSERT INTO baseline_images
SELECT DISTINCT item_key, $number, image
FROM floor
JOIN links USING (item_key)
WHERE $number IN (earlier_baseline, later_baseline)
