SELECT count(*) FROM stepped_back
