-- Times are UTC, wherever the reader sits.
SET GLOBAL TimeZone = 'UTC'
