-- Pairs of several builds that have one key, by chance.
--
-- In:   repeated_pairs
-- Out:  pair_ids (two or more); one row per key

SELECT list_sort(list(pair_id)) AS pair_ids
FROM repeated_pairs
GROUP BY pair_key
HAVING count(*) > 1
ORDER BY pair_ids
