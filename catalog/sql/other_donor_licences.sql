-- Pairs of a mix whose donor is under another licence than their photo.
--
-- In:   mix (view), pairs (view over the shards that it was made from, as far as they are here);
--       parameters $none_stated VARCHAR, $not_known VARCHAR: for replacements that pairs does not have
-- Out:  pair_id, licence, donor_licence, num_draws

WITH draws AS (
    SELECT
        pair_id,
        any_value(coalesce(licence, $none_stated)) AS licence,
        any_value(edit_type) AS edit_type,
        count(*) AS num_draws
    FROM mix
    GROUP BY pair_id
),

donors AS (
    SELECT
        pair_id,
        any_value(CASE WHEN donor IS NOT NULL THEN coalesce(donor.licence, $none_stated) END) AS donor_licence
    FROM pairs
    WHERE pair_id IN (SELECT pair_id FROM draws)
    GROUP BY pair_id
),

known AS (
    SELECT
        draws.*,
        CASE
            WHEN donors.pair_id IS NOT NULL THEN donors.donor_licence
            WHEN draws.edit_type = 'object_replacement' THEN $not_known
        END AS donor_licence
    FROM draws
    LEFT JOIN donors USING (pair_id)
)

SELECT
    pair_id,
    licence,
    donor_licence,
    num_draws
FROM known
WHERE donor_licence <> licence
ORDER BY pair_id
