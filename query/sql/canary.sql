-- The newest change, among the rows read, whose new image holds a token.
SELECT max(changed_at_ms) FROM changes WHERE contains(new_image, $token)
