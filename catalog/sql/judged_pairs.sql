-- One row per usable pair of one build.
--
-- In:   verdicts (view over the shards of a decision)
-- Out:  view judged_pairs: pair_key, group_key, donor_key, dataset, vision_task, edit_type, split, accepted

CREATE TEMP VIEW judged_pairs AS
SELECT
    pair_key,
    group_key,
    donor_key,
    dataset,
    vision_task,
    edit_type,
    split,
    accepted
FROM verdicts
WHERE usable
