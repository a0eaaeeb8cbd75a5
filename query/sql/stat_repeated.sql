-- Identities that several rows in a half-open range of creation times tell of, as numbers: most trails have none.
CREATE OR REPLACE TEMP TABLE stat_repeated AS
SELECT identity
FROM stat_doubtful
WHERE is_in_range(changed_at_ms)
GROUP BY identity
HAVING count(*) > 1
