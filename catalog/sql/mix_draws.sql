-- One row per draw. Training draws get their position by hash order over all sources; val and test pairs are
-- drawn once each and have none.
--
-- In:   mix_candidates, mix_members, mix_quotas; parameter $seed VARCHAR
-- Out:  table mix_draws: ordinal, pair_id, split, repeat, position

CREATE TEMP TABLE mix_draws AS
WITH hashed AS (
    SELECT
        c.pair_id,
        c.split,
        q.*,
        CASE WHEN c.split = 'train' THEN md5_number_lower($seed || ':draw:' || c.pair_id) END AS draw_hash,
        (draw_hash >> 52)::INTEGER AS bucket
    FROM mix_candidates AS c
    JOIN mix_members AS m
        ON
            c.dataset IS NOT DISTINCT FROM m.dataset
            AND c.vision_task IS NOT DISTINCT FROM m.vision_task
            AND c.edit_type IS NOT DISTINCT FROM m.edit_type
    JOIN mix_quotas AS q USING (ordinal)
    WHERE c.fate = 'accepted'
),

near AS MATERIALIZED (
    SELECT * FROM hashed WHERE split <> 'train' OR passes > 0 OR bucket <= edge_bucket
),

edge AS (
    SELECT pair_id
    FROM near
    WHERE bucket = edge_bucket
    QUALIFY row_number() OVER (PARTITION BY ordinal ORDER BY draw_hash, pair_id) <= edge_pairs
),

counted AS (
    SELECT
        ordinal,
        pair_id,
        split,
        CASE
            WHEN split <> 'train' THEN 1
            WHEN bucket < edge_bucket THEN passes + 1
            WHEN bucket = edge_bucket AND pair_id IN (SELECT pair_id FROM edge) THEN passes + 1
            ELSE passes
        END AS times
    FROM near
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
                    ORDER BY md5_number_lower($seed || ':order:' || repeat || ':' || pair_id), pair_id, repeat
                ) - 1
    END AS position
FROM drawn
