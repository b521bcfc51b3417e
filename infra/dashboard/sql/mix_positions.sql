-- Some rows in training order, with what showing them takes.
--
-- In:   mix; parameters $first, $count BIGINT: positions
-- Out:  one row per position

SELECT *, NULL::VARCHAR AS reason
FROM mix
WHERE position BETWEEN $first AND $first + $count - 1
ORDER BY position
