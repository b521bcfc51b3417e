-- One row per draw. Training draws get their position by order of number over all sources; val and test pairs are
-- drawn once each and have none.
--
-- In:   mix_near; parameter $word UBIGINT: the seed's, for the order
-- Out:  table mix_draws: ordinal, pair_key, split, repeat, position

CREATE TEMP TABLE mix_draws AS
WITH remainders AS (
    SELECT pair_key
    FROM mix_near
    WHERE close
    QUALIFY row_number() OVER (PARTITION BY ordinal ORDER BY number, pair_key) <= remainder
),

counted AS (
    SELECT
        ordinal,
        pair_key,
        split,
        CASE
            WHEN split <> 'train' THEN 1
            WHEN pair_key IN (SELECT pair_key FROM remainders) THEN passes + 1
            ELSE passes
        END AS times
    FROM mix_near
),

drawn AS (
    SELECT
        * EXCLUDE (times),
        unnest(range(times))::INTEGER AS repeat
    FROM counted
)

SELECT
    *,
    CASE
        WHEN split = 'train'
            THEN
                row_number() OVER (
                    PARTITION BY split
                    ORDER BY stir(stir(pair_key, $word::UBIGINT), repeat::UBIGINT), pair_key, repeat
                ) - 1
    END AS position
FROM drawn
