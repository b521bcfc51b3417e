-- How many pairs each condition or reason removes.
--
-- In:   verdicts (view over shards)
-- Out:  condition (null: accepted), by_policy (a condition of the policy; else a pair's or score's own reason),
--       num_pairs; one row per condition or reason, reasons in alphabetical order

SELECT
    condition,
    coalesce(bool_or(score IS NOT NULL), false) AS by_policy,
    count(*) AS num_pairs
FROM verdicts
GROUP BY condition
ORDER BY condition
