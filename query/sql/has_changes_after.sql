SELECT count(*) > 0 FROM sides WHERE n_kind = 'change'
