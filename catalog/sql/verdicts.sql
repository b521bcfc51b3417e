-- One row per pair: accepted, or the first condition that it fails.
--
-- In:     candidates; parameters of the policy's conditions, in order:
--         $names VARCHAR[], $looks_at VARCHAR[], $thresholds DOUBLE[], $edit_types_<i> VARCHAR[] where given
-- Out:    schema.VERDICTS, ordered by pair_id
-- Text:   {covered}: whether any condition is about the pair
--         {failed}:  WHEN <condition i is about the pair and does not hold> THEN i, ...
--         {values}:  WHEN i THEN <value that condition i looks at>, ...
--         (built from validated score names; numbers and words are always parameters)

WITH judged AS (
    SELECT
        *,
        CASE
            WHEN own_reason IS NOT NULL THEN own_reason
            WHEN {covered} THEN score_reason
        END AS unusable,
        CASE {failed} END AS failed
    FROM candidates
),

decided AS (
    SELECT * REPLACE (CASE WHEN unusable IS NULL THEN failed END AS failed)
    FROM judged
)

SELECT
    pair_id,
    unusable IS NULL AND failed IS NULL AS accepted,
    coalesce(unusable, ($names::VARCHAR[])[failed]) AS condition,
    ($looks_at::VARCHAR[])[failed] AS score,
    CASE failed {values} END AS value,
    ($thresholds::DOUBLE[])[failed] AS threshold
FROM decided
ORDER BY pair_id
