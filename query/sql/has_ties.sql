SELECT bool_or(is_p_tied OR is_n_tied) FROM sides
