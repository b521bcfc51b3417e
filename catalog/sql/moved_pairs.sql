-- What becomes of the suspect pairs, by the photos themselves.
--
-- In:   suspect_pairs, held_out_groups, usable_pairs
-- Out:  table moved_pairs: pair_id, split (the strictest of its photo), barred (its donor's photo is held out: a donor
--       is of its pair's own split, but another build may hold the photo out)

CREATE TEMP TABLE moved_pairs AS
SELECT
    p.pair_id,
    coalesce(h.split, p.split) AS split,
    p.donor.group_id IN (SELECT group_id FROM held_out_groups) AS barred
FROM usable_pairs AS p
SEMI JOIN suspect_pairs USING (pair_id)
LEFT JOIN held_out_groups AS h USING (group_id)
