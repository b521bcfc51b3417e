-- One row per key that more than one verdict of several builds has.
--
-- In:   verdicts (view over the shards of all builds)
-- Out:  table repeated_keys: pair_key

CREATE TEMP TABLE repeated_keys AS
SELECT pair_key
FROM verdicts
GROUP BY pair_key
HAVING count(*) > 1
