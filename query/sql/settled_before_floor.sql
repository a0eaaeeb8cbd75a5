-- Whether any change came before the baseline and was not known to what was made of it.
SELECT count(*) > 0 FROM settled WHERE effective_ms < getvariable('layers').floor_ms
