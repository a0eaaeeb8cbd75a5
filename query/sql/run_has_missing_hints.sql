-- Whether any row does not say its key text: where the key schema was not known yet when it was archived.
SELECT coalesce(bool_or(pk IS NULL), false) FROM unordered
