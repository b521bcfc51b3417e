-- The pairs that may be drawn: all of a source that is passed over as a whole, else those whose number is small enough
-- to be among its remainder, and more than enough of them. So no sort ever sees all pairs.
--
-- In:   mix_candidates, mix_members; mix_quotas: ordinal, passes, remainder, reach; parameters $word, $reach UBIGINT:
--       the seed's word, and the largest number that any source needs
-- Out:  table mix_near: pair_key, ordinal, split, passes, remainder, number (in draw order; null outside train),
--       close (whether it is within its source's reach)

CREATE OR REPLACE TEMP TABLE mix_near AS
SELECT
    c.pair_key,
    q.ordinal,
    c.split,
    q.passes,
    q.remainder,
    CASE WHEN c.split = 'train' THEN stir(c.pair_key, $word::UBIGINT) END AS number,
    coalesce(number <= q.reach, false) AS close
FROM mix_candidates AS c
JOIN mix_members AS m
    ON
        c.dataset IS NOT DISTINCT FROM m.dataset
        AND c.vision_task IS NOT DISTINCT FROM m.vision_task
        AND c.edit_type IS NOT DISTINCT FROM m.edit_type
JOIN mix_quotas AS q USING (ordinal)
WHERE
    c.fate = 'accepted'
    AND (c.split <> 'train' OR stir(c.pair_key, $word::UBIGINT) <= $reach::UBIGINT)
    AND (c.split <> 'train' OR q.passes > 0 OR stir(c.pair_key, $word::UBIGINT) <= q.reach)
