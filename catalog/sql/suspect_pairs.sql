-- The pairs that have a suspect key.
--
-- In:   verdicts (view over all builds), suspect_keys
-- Out:  table suspect_pairs: pair_id

CREATE TEMP TABLE suspect_pairs AS
SELECT DISTINCT pair_id
FROM verdicts
SEMI JOIN suspect_keys USING (pair_key)
