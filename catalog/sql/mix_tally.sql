-- How many pairs of each kind there are.
--
-- In:   mix_candidates
-- Out:  table mix_tally: dataset, vision_task, edit_type, split, fate, num_pairs

CREATE TEMP TABLE mix_tally AS
SELECT
    dataset,
    vision_task,
    edit_type,
    split,
    fate,
    count(*) AS num_pairs
FROM mix_candidates
GROUP BY ALL
