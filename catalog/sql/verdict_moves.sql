-- What rejects pairs under one policy and under another.
--
-- In:   before, after (views over verdicts of the same build)
-- Out:  first, second (condition or reason that rejects; null: accepted), num_pairs; one row per combination

SELECT
    before.condition AS first,
    after.condition AS second,
    count(*) AS num_pairs
FROM before
JOIN after USING (pair_id)
GROUP BY before.condition, after.condition
ORDER BY before.condition NULLS FIRST, after.condition NULLS FIRST
