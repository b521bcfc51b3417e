-- How many pairs of each kind there are.
--
-- In:   pairs (view over shards)
-- Out:  dataset, vision_task, edit_type, num_pairs, num_usable, num_train, num_val, num_test (usable, by the
--       pair's own split); one row per kind

SELECT
    dataset,
    vision_task,
    edit_type,
    count(*) AS num_pairs,
    count(*) FILTER (reason IS NULL) AS num_usable,
    count(*) FILTER (reason IS NULL AND split = 'train') AS num_train,
    count(*) FILTER (reason IS NULL AND split = 'val') AS num_val,
    count(*) FILTER (reason IS NULL AND split = 'test') AS num_test
FROM pairs
GROUP BY dataset, vision_task, edit_type
ORDER BY dataset, vision_task, edit_type
