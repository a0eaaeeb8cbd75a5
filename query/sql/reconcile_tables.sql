-- The items of the live table or of an export, and the keys of items that changed while it was read.
CREATE TEMP TABLE live (item_key VARCHAR, image VARCHAR);
CREATE TEMP TABLE touched (item_key VARCHAR);
