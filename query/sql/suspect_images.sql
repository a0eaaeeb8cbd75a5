-- What a baseline shows of items at a link that seems broken.
INSERT INTO baseline_images
SELECT DISTINCT item, $number, item_key, image
FROM floor
JOIN links ON item = md5_number(item_key)
WHERE $number IN (earlier_baseline, later_baseline)
