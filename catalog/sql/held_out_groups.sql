-- One row per photo that must not train: the strictest split that any of its pairs has (test > val > train).
-- Unusable and rejected pairs count too, so that a policy never moves a photo from one split to another.
--
-- In:   pairs (view over shards)
-- Out:  table held_out_groups: group_id, split

CREATE TEMP TABLE held_out_groups AS
SELECT
    group_id,
    CASE WHEN bool_or(split = 'test') THEN 'test' ELSE 'val' END AS split
FROM pairs
WHERE split IN ('val', 'test') AND group_id IS NOT NULL
GROUP BY group_id
