-- One row per pair_id that more than one usable row of several builds has.
--
-- In:   pairs (view over the shards of all builds)
-- Out:  table repeated_pairs: pair_id

CREATE TEMP TABLE repeated_pairs AS
SELECT pair_id
FROM pairs
WHERE reason IS NULL
GROUP BY pair_id
HAVING count(*) > 1
