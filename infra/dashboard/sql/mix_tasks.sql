-- Training samples by vision task.
--
-- In:   mix
-- Out:  vision_task, num_draws, num_pairs (different ones); one row per task that is drawn

SELECT
    vision_task,
    count(*) AS num_draws,
    count(DISTINCT pair_id) AS num_pairs
FROM mix
WHERE split = 'train'
GROUP BY vision_task
ORDER BY vision_task
