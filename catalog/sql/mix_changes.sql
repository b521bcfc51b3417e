-- Pairs that the mix treats otherwise than their verdicts say.
--
-- In:   moved_pairs, barred_pairs
-- Out:  pair_id, split (null: its own), barred (must not train); one row per pair

SELECT
    pair_id,
    max(split) AS split,
    coalesce(bool_or(barred), false) AS barred
FROM (
    SELECT pair_id, split, barred FROM moved_pairs
    UNION ALL
    SELECT pair_id, NULL, true FROM barred_pairs
) AS found
GROUP BY pair_id
ORDER BY pair_id
