-- Pairs by source, split and fate.
--
-- In:   mix_tally, mix_members
-- Out:  ordinal (null: no source matches), split, fate, num_pairs

SELECT
    m.ordinal,
    t.split,
    t.fate,
    sum(t.num_pairs)::BIGINT AS num_pairs
FROM mix_tally AS t
LEFT JOIN mix_members AS m
    ON
        t.dataset IS NOT DISTINCT FROM m.dataset
        AND t.vision_task IS NOT DISTINCT FROM m.vision_task
        AND t.edit_type IS NOT DISTINCT FROM m.edit_type
GROUP BY ALL
