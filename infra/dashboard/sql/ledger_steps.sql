-- What each step took, from the ledger.
--
-- In:   ledger; parameter $keys VARCHAR[]: of shards
-- Out:  step, num_shards, num_rows, num_usable, seconds, cost; by step

SELECT
    step,
    count(*) AS num_shards,
    sum(rows)::BIGINT AS num_rows,
    sum(usable)::BIGINT AS num_usable,
    sum(seconds) AS seconds,
    sum(cost) AS cost
FROM (
    SELECT *
    FROM ledger
    WHERE made AND key IN (SELECT unnest($keys))
    QUALIFY row_number() OVER (PARTITION BY key ORDER BY started_at DESC) = 1
)
GROUP BY step
ORDER BY step
