-- Why rows of a table are not usable.
--
-- In:   unusable (view over any table with reason and detail)
-- Out:  reason, num_rows, example (a detail); one row per reason, most frequent first

SELECT
    reason,
    count(*) AS num_rows,
    min(detail) AS example
FROM unusable
WHERE reason IS NOT NULL
GROUP BY reason
ORDER BY num_rows DESC, reason
