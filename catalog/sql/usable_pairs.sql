-- One row per usable pair of one build.
--
-- In:   pairs (view over shards)
-- Out:  view usable_pairs: the columns of pairs

CREATE TEMP VIEW usable_pairs AS
SELECT *
FROM pairs
WHERE reason IS NULL
