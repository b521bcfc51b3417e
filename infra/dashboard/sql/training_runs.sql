-- How far some runs are.
--
-- In:   log (with filename)
-- Out:  filename, num_steps, samples_seen, loss_first and loss_last (means over the first and last tenth of the steps),
--       samples_per_s (median), data_wait_share, seconds, num_skipped, num_rejected; one row per run

SELECT
    filename,
    max(step) AS num_steps,
    max(samples_seen) AS samples_seen,
    avg(loss) FILTER (place <= greatest(1, total // 10)) AS loss_first,
    avg(loss) FILTER (place > total - greatest(1, total // 10)) AS loss_last,
    median(samples_per_s) AS samples_per_s,
    avg(data_wait_share) AS data_wait_share,
    sum(seconds) AS seconds,
    count(*) FILTER (skipped) AS num_skipped,
    sum(num_rejected)::BIGINT AS num_rejected
FROM (
    SELECT
        *,
        row_number() OVER (PARTITION BY filename ORDER BY step) AS place,
        count(*) OVER (PARTITION BY filename) AS total
    FROM log
)
GROUP BY filename
ORDER BY filename
