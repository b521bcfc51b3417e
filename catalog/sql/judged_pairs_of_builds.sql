-- One row per pair that is usable in any of several builds; accepted only if it is in each of them.
--
-- In:   verdicts (view over the shards of all decisions), repeated_keys
-- Out:  view judged_pairs: as in judged_pairs.sql; of a repeated pair the strictest split

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
ANTI JOIN repeated_keys USING (pair_key)
WHERE usable
UNION ALL
SELECT
    pair_key,
    min(group_key) FILTER (usable),
    min(donor_key) FILTER (usable),
    min(dataset) FILTER (usable),
    min(vision_task) FILTER (usable),
    min(edit_type) FILTER (usable),
    CASE
        WHEN bool_or(split = 'test') FILTER (usable) THEN 'test'
        WHEN bool_or(split = 'val') FILTER (usable) THEN 'val'
        ELSE min(split) FILTER (usable)
    END,
    bool_and(accepted)
FROM verdicts
SEMI JOIN repeated_keys USING (pair_key)
GROUP BY pair_key
HAVING bool_or(usable)
