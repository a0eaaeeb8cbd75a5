-- Whether there is any item that a snapshot should show.
SELECT (SELECT count(*) FROM winners) + (SELECT count(*) FROM floor) > 0
