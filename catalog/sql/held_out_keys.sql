-- One row per key of a photo that must not train: the strictest split that any of its pairs has (test > val > train).
-- Unusable and rejected pairs count too, so that a policy never moves a photo from one split to another.
--
-- In:   verdicts (view over all builds)
-- Out:  table held_out_keys: group_key, split

CREATE TEMP TABLE held_out_keys AS
SELECT
    group_key,
    CASE WHEN bool_or(split = 'test') THEN 'test' ELSE 'val' END AS split
FROM verdicts
WHERE split IN ('val', 'test') AND group_key IS NOT NULL
GROUP BY group_key
