-- No answer rests on a change in conflict.
DELETE FROM states WHERE item_key IN (SELECT unnest($item_keys))
