-- The pair that a person reviews next: the first in an order that chance has made and everybody shares.
--
-- In:   verdicts (view over the shards of a decision), reviews, macro stir; parameters $verdicts VARCHAR (the decision's
--       key), $condition VARCHAR (null: accepted pairs), $person VARCHAR; $most: one more than that person answered
-- Out:  pair_id; at most one row

WITH first AS (
    SELECT
        pair_id,
        stir(pair_key, 0::UBIGINT) AS place
    FROM verdicts
    WHERE condition IS NOT DISTINCT FROM $condition
    ORDER BY place, pair_id
    LIMIT $most
)

SELECT pair_id
FROM first
WHERE
    pair_id NOT IN (
        SELECT pair_id
        FROM reviews
        WHERE verdicts = $verdicts AND person = $person AND drawn
    )
ORDER BY place, pair_id
LIMIT 1
