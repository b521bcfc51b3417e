-- One row per usable pair of several builds.
--
-- In:   pairs, repeated_pairs
-- Out:  view usable_pairs: the columns of pairs; of a repeated pair the row whose image comes first by place

CREATE TEMP VIEW usable_pairs AS
SELECT *
FROM pairs
WHERE reason IS NULL AND pair_id NOT IN (SELECT pair_id FROM repeated_pairs)
UNION ALL
(
    SELECT DISTINCT ON (pair_id) *
    FROM pairs
    WHERE reason IS NULL AND pair_id IN (SELECT pair_id FROM repeated_pairs)
    ORDER BY pair_id, source_image, target_image, split
)
