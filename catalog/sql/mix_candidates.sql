-- One row per usable pair, with its fate so far. Only narrow columns: this view is scanned twice.
--
-- In:   usable_pairs, held_out_groups, barred_pairs, verdicts (views over all builds)
-- Out:  view mix_candidates: pair_id, dataset, vision_task, edit_type, split (the strictest of its group),
--       fate: 'accepted'; 'rejected' by the policy in any of the builds; 'barred' from training

CREATE TEMP VIEW mix_candidates AS
SELECT
    p.pair_id,
    p.dataset,
    p.vision_task,
    p.edit_type,
    coalesce(h.split, p.split) AS split,
    CASE
        WHEN p.pair_id IN (SELECT pair_id FROM verdicts WHERE NOT accepted) THEN 'rejected'
        WHEN
            coalesce(h.split, p.split) = 'train' AND p.pair_id IN (SELECT pair_id FROM barred_pairs)
            THEN 'barred'
        -- a donor is of its pair's own split, but another build may hold the donor's photo out
        WHEN
            coalesce(h.split, p.split) = 'train' AND p.donor.group_id IN (SELECT group_id FROM held_out_groups)
            THEN 'barred'
        ELSE 'accepted'
    END AS fate
FROM usable_pairs AS p
LEFT JOIN held_out_groups AS h USING (group_id)
