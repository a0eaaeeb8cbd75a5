-- The links that seem broken, with the change or baseline on both sides, and the images that are to be the same.
SELECT
    coalesce(later.item_key, earlier.item_key, shown_later.item_key, shown_earlier.item_key) AS item_key,
    earlier.change_id AS earlier_change_id,
    earlier.changed_at_ms AS earlier_ms,
    earlier.stream_label AS earlier_label,
    earlier_baseline,
    CASE WHEN NOT is_left_absent THEN coalesce(earlier.new_image, shown_earlier.image) END AS left_image,
    later.change_id AS later_change_id,
    later.changed_at_ms AS later_ms,
    later.stream_label AS later_label,
    later_baseline,
    CASE WHEN NOT is_found_absent THEN coalesce(later.old_image, shown_later.image) END AS found_image,
    is_between_tables
FROM links
LEFT JOIN changes AS earlier ON earlier.row_id = earlier_row
LEFT JOIN changes AS later ON later.row_id = later_row
LEFT JOIN baseline_images AS shown_earlier
    ON shown_earlier.item = links.item AND shown_earlier.baseline = earlier_baseline
LEFT JOIN baseline_images AS shown_later
    ON shown_later.item = links.item AND shown_later.baseline = later_baseline
WHERE is_suspect
ORDER BY
    links.changed_at_ms, item_key, later.stream_label NULLS FIRST, later.sequence_number NULLS FIRST,
    later_row NULLS FIRST
