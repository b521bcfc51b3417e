-- The cases that stand out in a benchmark.
--
-- In:   cases; parameter $benchmark VARCHAR
-- Out:  standing, rank, pair_id, instruction, difference, source, target, prediction; best first

SELECT
    standing,
    rank,
    pair_id,
    instruction,
    difference,
    source,
    target,
    prediction
FROM cases
WHERE benchmark = $benchmark AND standing IS NOT NULL
ORDER BY standing, rank
