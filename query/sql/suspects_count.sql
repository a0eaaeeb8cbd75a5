SELECT count(*) FROM suspects
