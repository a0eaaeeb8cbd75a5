SELECT count(*) FROM n_wanted
