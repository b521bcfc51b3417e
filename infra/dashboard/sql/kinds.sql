-- What kinds of pairs a decision has verdicts on.
--
-- In:   verdicts
-- Out:  dataset, vision_task, edit_type, split, condition, num_pairs; one row per combination

SELECT
    dataset,
    vision_task,
    edit_type,
    split,
    condition,
    count(*) AS num_pairs
FROM verdicts
GROUP BY ALL
ORDER BY ALL
