SELECT count(*) > 0 FROM stat_repeated
