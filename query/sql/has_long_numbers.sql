SELECT coalesce(bool_or(number IS NULL), false) FROM chain
