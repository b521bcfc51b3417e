-- Rows of a mix by licence.
--
-- In:   mix (view); parameters $none_stated VARCHAR, $repeats BOOLEAN: every draw, or each pair once
-- Out:  licence, num_rows

SELECT
    coalesce(licence, $none_stated) AS licence,
    count(*) AS num_rows
FROM mix
WHERE repeat = 0 OR $repeats
GROUP BY ALL
ORDER BY ALL
