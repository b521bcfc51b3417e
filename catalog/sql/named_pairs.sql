-- Pairs that a tombstone names.
--
-- In:   pairs, requests (views over the shards of all builds and crawls), tombstones (columns kind, value)
-- Out:  table named_pairs: pair_id
--       image: the SHA-256 of a photo or of any image of the pair, the donor's included, or of the picture that an
--       image of the pair was cut out of (a photo request's); patch: the region that a replacement took; licence: of
--       the photo or of the donor; backend: "role=name@revision" or "role=name"

CREATE TEMP TABLE named_pairs AS
WITH withdrawn AS (
    SELECT kind, value FROM tombstones
    UNION
    SELECT t.kind, r.source_image.sha256 FROM requests AS r
    JOIN tombstones AS t ON t.kind = 'image' AND t.value = r.photo_image.sha256
    UNION
    SELECT t.kind, r.target_image.sha256 FROM requests AS r
    JOIN tombstones AS t ON t.kind = 'image' AND t.value = r.result_image.sha256
)

SELECT DISTINCT p.pair_id
FROM pairs AS p
JOIN withdrawn AS t
    ON CASE t.kind
        WHEN 'image'
            THEN t.value IN (
                p.group_id, p.source_image.sha256, p.target_image.sha256, p.donor.group_id, p.donor.source_image.sha256
            )
        WHEN 'patch' THEN t.value = p.donor.region_id
        WHEN 'licence' THEN t.value IN (p.licence, p.donor.licence)
        WHEN 'backend'
            THEN len(list_filter(p.backends, lambda b : b = t.value OR starts_with(b, t.value || '@'))) > 0
    END
