-- Writes down what the comparison of values found.
UPDATE states SET rule = 'both', basis = 'agreement', reason = NULL WHERE item_key IN (SELECT unnest($agreeing))
