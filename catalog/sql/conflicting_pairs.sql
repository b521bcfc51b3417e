-- One row per pair_id that stands for different things in different builds.
-- Where the bytes of an image lie does not matter, what they are does; the split is settled by the group.
--
-- In:   pairs, repeated_pairs
-- Out:  pair_id, ordered

SELECT pair_id
FROM (
    SELECT * REPLACE (source_image.sha256 AS source_image, target_image.sha256 AS target_image, NULL AS split)
    FROM pairs
    WHERE reason IS NULL AND pair_id IN (SELECT pair_id FROM repeated_pairs)
) AS content
GROUP BY pair_id
HAVING count(DISTINCT content) > 1
ORDER BY pair_id
