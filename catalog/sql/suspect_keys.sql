-- Keys of pairs whose photo another pair holds out more strictly, and of pairs to train on whose donor's photo is held
-- out: by the keys of photos, so some of them by chance. There is none where sources keep their photos in one split.
--
-- In:   verdicts (view over all builds), held_out_keys
-- Out:  table suspect_keys: pair_key

CREATE TEMP TABLE suspect_keys AS
SELECT v.pair_key
FROM verdicts AS v
JOIN held_out_keys AS h USING (group_key)
WHERE v.usable AND v.split <> h.split
UNION
SELECT v.pair_key
FROM verdicts AS v
SEMI JOIN held_out_keys AS h ON v.donor_key = h.group_key
WHERE v.usable AND v.split = 'train'
