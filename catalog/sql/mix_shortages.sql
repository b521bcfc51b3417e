-- Whether any source has fewer pairs within its reach than its remainder.
--
-- In:   mix_near, mix_quotas
-- Out:  num_short: number of such sources; one row

SELECT count(*) AS num_short
FROM mix_quotas AS q
WHERE q.remainder > (SELECT count(*) FROM mix_near AS n WHERE n.ordinal = q.ordinal AND n.close)
