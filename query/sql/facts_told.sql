-- What has to be looked at once more: clocks that stepped back, changes that several rows tell of, numbers too long.
SELECT
    coalesce(bool_or(stepped_back_at IS NOT NULL), false),
    coalesce(bool_or(is_p_tied OR is_n_tied), false),
    coalesce(bool_or(is_beyond_numbers), false)
FROM facts
