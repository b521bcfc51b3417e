-- The photos behind usable pairs: images that sources gave, not those that a build made.
--
-- In:   pairs, requests (views over the shards of some builds)
-- Out:  image (one place of it), names, groups (both distinct, sorted); one row per digest, ordered by it
--       A name is "dataset: path", with the offset where the image is a part of a file (a tar). Copies that a build had
--       to make of a photo (of a Parquet cell, of a rendered scene) say nothing about the source: those of one dataset,
--       however many steps made one, count as one name, "dataset: copied". The whole photo of a request is among them,
--       whatever was cut out of it: it is what a benchmark image would look like.

WITH shown AS (
    SELECT dataset, group_id, source_image AS image FROM pairs WHERE reason IS NULL
    UNION ALL
    SELECT dataset, group_id, target_image AS image FROM pairs WHERE reason IS NULL
    UNION ALL
    SELECT 'photo_request' AS dataset, photo_image.sha256 AS group_id, photo_image AS image
    FROM requests WHERE reason IS NULL
),

named AS (
    SELECT
        image,
        group_id,
        dataset || ': ' || CASE
            WHEN image.root = 'store' THEN 'copied'
            WHEN image.offset > 0 THEN concat(image.path, ' at ', image.offset)
            ELSE image.path
        END AS name
    FROM shown
    WHERE image IS NOT NULL AND (image.root <> 'store' OR image.sha256 = group_id)
)

SELECT
    min(image) AS image,
    list_sort(list_distinct(list(name))) AS names,
    list_sort(list_distinct(list(group_id))) AS groups
FROM named
GROUP BY image.sha256
ORDER BY image.sha256
