-- The roots that images of the mix are in.
--
-- In:   drawn_ids, usable_pairs
-- Out:  root; one row per root

SELECT DISTINCT unnest([p.source_image.root, p.target_image.root]) AS root
FROM usable_pairs AS p
SEMI JOIN drawn_ids USING (pair_id)
