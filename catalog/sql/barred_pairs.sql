-- One row per usable pair that shows a barred image: as its source, its target, the photo both come from,
-- or the photo that the donor of a replacement is of.
--
-- In:   usable_pairs, barred_digests (column sha256)
-- Out:  table barred_pairs: pair_id

CREATE TEMP TABLE barred_pairs AS
SELECT pair_id
FROM usable_pairs
WHERE
    group_id IN (SELECT sha256 FROM barred_digests)
    OR source_image.sha256 IN (SELECT sha256 FROM barred_digests)
    OR target_image.sha256 IN (SELECT sha256 FROM barred_digests)
    OR donor.group_id IN (SELECT sha256 FROM barred_digests)
