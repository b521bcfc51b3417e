-- What a mix holds, by source and kind.
--
-- In:   mix
-- Out:  mix_source, vision_task, edit_type, dataset, num_draws (training samples), num_pairs (different ones among
--       them), num_val, num_test; one row per combination

SELECT
    mix_source,
    vision_task,
    edit_type,
    dataset,
    count(*) FILTER (split = 'train') AS num_draws,
    count(DISTINCT pair_id) FILTER (split = 'train') AS num_pairs,
    count(*) FILTER (split = 'val') AS num_val,
    count(*) FILTER (split = 'test') AS num_test
FROM mix
GROUP BY ALL
ORDER BY ALL
