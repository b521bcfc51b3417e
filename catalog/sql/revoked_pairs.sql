-- Every pair that a withdrawal reaches, from the pairs that it names: a pair stands and falls with its reversal and
-- with every other pair that shows an image which was made for it (in the store, and not the photo itself).
--
-- In:   pairs (view over the shards of all builds), named_pairs (column pair_id)
-- Out:  pair_id; one row per pair, ordered

WITH RECURSIVE made AS (
    SELECT pair_id, source_image.sha256 AS sha256 FROM pairs
    WHERE source_image.root = 'store' AND source_image.sha256 IS DISTINCT FROM group_id
    UNION
    SELECT pair_id, target_image.sha256 AS sha256 FROM pairs
    WHERE target_image.root = 'store' AND target_image.sha256 IS DISTINCT FROM group_id
),

links AS (
    SELECT 'pair:' || pair_id AS one, 'image:' || sha256 AS other FROM made
    UNION
    SELECT 'image:' || sha256, 'pair:' || pair_id FROM made
    UNION
    SELECT 'pair:' || pair_id, 'pair:' || reversed_pair_id FROM pairs WHERE reversed_pair_id IS NOT NULL
    UNION
    SELECT 'pair:' || reversed_pair_id, 'pair:' || pair_id FROM pairs WHERE reversed_pair_id IS NOT NULL
),

reached AS (
    SELECT 'pair:' || pair_id AS node FROM named_pairs
    UNION
    SELECT links.other FROM reached JOIN links ON links.one = reached.node
)

SELECT DISTINCT pair_id
FROM pairs
WHERE 'pair:' || pair_id IN (SELECT node FROM reached)
ORDER BY pair_id
