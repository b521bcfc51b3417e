-- Where each source's remainder ends, from the histogram of draw hashes alone: every pair in a bucket below
-- edge_bucket is in it, and of the pairs in edge_bucket the first edge_pairs by hash. So the draw needs no sort
-- of all pairs, and is exact.
--
-- In:   mix_tally, mix_members; parameters $ordinals INTEGER[], $passes INTEGER[], $remainders BIGINT[]
-- Out:  table mix_quotas: ordinal, passes, edge_bucket (-1: no remainder), edge_pairs

CREATE TEMP TABLE mix_quotas AS
WITH wanted AS (
    SELECT
        unnest($ordinals::INTEGER[]) AS ordinal,
        unnest($passes::INTEGER[]) AS passes,
        unnest($remainders::BIGINT[]) AS remainder
),

buckets AS (
    SELECT
        m.ordinal,
        t.bucket,
        sum(t.num_pairs) AS num_pairs
    FROM mix_tally AS t
    JOIN mix_members AS m
        ON
            t.dataset IS NOT DISTINCT FROM m.dataset
            AND t.vision_task IS NOT DISTINCT FROM m.vision_task
            AND t.edit_type IS NOT DISTINCT FROM m.edit_type
    WHERE t.bucket IS NOT NULL
    GROUP BY m.ordinal, t.bucket
),

filled AS (
    SELECT
        *,
        sum(num_pairs) OVER (PARTITION BY ordinal ORDER BY bucket) AS num_reached
    FROM buckets
)

SELECT
    w.ordinal,
    w.passes,
    CASE WHEN w.remainder > 0 THEN min(f.bucket) FILTER (f.num_reached >= w.remainder) ELSE -1 END AS edge_bucket,
    w.remainder - coalesce(max(f.num_reached) FILTER (f.num_reached < w.remainder), 0) AS edge_pairs
FROM wanted AS w
LEFT JOIN filled AS f USING (ordinal)
GROUP BY w.ordinal, w.passes, w.remainder
