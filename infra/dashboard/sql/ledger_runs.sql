-- What each flow run did, from the ledger.
--
-- In:   ledger
-- Out:  flow_run ('': outside a flow), started_at, ended_at (start of its last piece of work and its seconds), steps,
--       num_made, num_found (shards that were there already), seconds (of work, over all workers), cost; latest first

SELECT
    flow_run,
    min(started_at) AS started_at,
    max(started_at::TIMESTAMPTZ + to_milliseconds((1000 * seconds)::BIGINT))::VARCHAR AS ended_at,
    string_agg(DISTINCT step, ', ' ORDER BY step) AS steps,
    count(*) FILTER (made) AS num_made,
    count(*) FILTER (NOT made) AS num_found,
    sum(seconds) AS seconds,
    sum(cost) AS cost
FROM ledger
GROUP BY flow_run
ORDER BY started_at DESC
