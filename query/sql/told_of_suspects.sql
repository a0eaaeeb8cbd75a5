-- All that the layers tell of those items.
CREATE OR REPLACE TEMP TABLE told_of_suspects AS
SELECT item_key, place, effective_ms, ord FROM told SEMI JOIN suspects USING (item_key) WHERE ord IS NOT NULL
