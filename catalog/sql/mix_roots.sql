-- The roots that images of the mix are in.
--
-- In:   mix_draws, usable_pairs
-- Out:  root; one row per root

SELECT DISTINCT unnest([p.source_image.root, p.target_image.root]) AS root
FROM usable_pairs AS p
WHERE p.pair_id IN (SELECT pair_id FROM mix_draws)
