-- The pairs that the mix draws, each once.
--
-- In:   mix_draws, verdicts (view over all builds)
-- Out:  table drawn_ids: pair_id, pair_key

CREATE TEMP TABLE drawn_ids AS
SELECT DISTINCT
    pair_id,
    pair_key
FROM verdicts
SEMI JOIN mix_draws USING (pair_key)
WHERE usable
