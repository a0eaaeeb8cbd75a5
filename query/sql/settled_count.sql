SELECT count(*) FROM settled
