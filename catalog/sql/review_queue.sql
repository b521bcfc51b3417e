-- The pair that a person reviews next: the first in an order that chance has made and everybody shares.
--
-- In:   verdicts (view over the shards of a decision), reviews, macro stir; parameters $verdicts VARCHAR (the decision's
--       key), $condition VARCHAR (null: accepted pairs), $person VARCHAR
-- Out:  pair_id; at most one row

SELECT v.pair_id
FROM verdicts AS v
WHERE
    v.condition IS NOT DISTINCT FROM $condition
    AND v.pair_id NOT IN (
        SELECT r.pair_id
        FROM reviews AS r
        WHERE r.verdicts = $verdicts AND r.person = $person AND r.drawn
    )
ORDER BY stir(v.pair_key, 0::UBIGINT), v.pair_id
LIMIT 1
