-- One row per pair_id that more than one verdict of several builds has, and any of them a usable pair's.
--
-- In:   verdicts (view over the shards of all builds), repeated_keys
-- Out:  table repeated_pairs: pair_id, pair_key

CREATE TEMP TABLE repeated_pairs AS
SELECT
    pair_id,
    pair_key
FROM verdicts
SEMI JOIN repeated_keys USING (pair_key)
GROUP BY pair_id, pair_key
HAVING bool_or(usable)
