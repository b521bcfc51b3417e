-- Pairs whose id begins with some text; the id itself comes first if there is one.
--
-- In:   pairs (view over shards); parameters $prefix VARCHAR, $limit BIGINT
-- Out:  the columns of pairs; at most $limit rows, by pair_id

SELECT *
FROM pairs
WHERE starts_with(pair_id, $prefix)
ORDER BY pair_id <> $prefix, pair_id
LIMIT $limit
