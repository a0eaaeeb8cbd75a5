-- The changes that are counted: those in the range for which the filters hold.
CREATE OR REPLACE TEMP VIEW stat_chosen AS
SELECT *
FROM stat_rows
WHERE
    is_in_range(changed_at_ms)
    AND (getvariable('ops') IS NULL OR list_contains(getvariable('ops')::VARCHAR[], op))
    AND (getvariable('actor') IS NULL OR actor_name(op, new_image, user_identity) = getvariable('actor')::VARCHAR)
    AND (getvariable('about_names') IS NULL OR is_about(old_image, new_image, changed_attributes))
