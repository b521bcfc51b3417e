-- One row per usable pair, with its fate so far. Only narrow columns: this view is scanned twice.
--
-- In:   judged_pairs; mix_changes: pair_key, split (null: its own), barred
-- Out:  view mix_candidates: pair_key, dataset, vision_task, edit_type, split,
--       fate: 'accepted'; 'rejected' by the policy in any of the builds; 'barred' from training

CREATE TEMP VIEW mix_candidates AS
SELECT
    j.pair_key,
    j.dataset,
    j.vision_task,
    j.edit_type,
    coalesce(c.split, j.split) AS split,
    CASE
        WHEN NOT j.accepted THEN 'rejected'
        WHEN c.barred AND coalesce(c.split, j.split) = 'train' THEN 'barred'
        ELSE 'accepted'
    END AS fate
FROM judged_pairs AS j
LEFT JOIN mix_changes AS c USING (pair_key)
