-- Pairs on which two policies differ.
--
-- In:   before, after (views over verdicts of the same build)
-- Out:  pair_id, accepted (by the second), condition (what rejects it in the policy that rejects it);
--       one row per pair that one policy accepts and the other rejects, ordered by pair_id

SELECT
    pair_id,
    after.accepted AS accepted,
    coalesce(after.condition, before.condition) AS condition
FROM before
JOIN after USING (pair_id)
WHERE before.accepted <> after.accepted
ORDER BY pair_id
