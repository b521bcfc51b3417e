-- The photos behind usable pairs: images that sources gave, not those that a build made.
--
-- In:   pairs (view over the shards of some builds)
-- Out:  image (one place of it), names ("dataset: path", distinct, sorted); one row per digest, ordered by it

WITH shown AS (
    SELECT dataset, group_id, source_image AS image FROM pairs WHERE reason IS NULL
    UNION ALL
    SELECT dataset, group_id, target_image AS image FROM pairs WHERE reason IS NULL
)

SELECT
    min(image) AS image,
    list_sort(list_distinct(list(concat(dataset, ': ', image.path)))) AS names
FROM shown
WHERE image IS NOT NULL AND (image.root <> 'store' OR image.sha256 = group_id)
GROUP BY image.sha256
ORDER BY image.sha256
