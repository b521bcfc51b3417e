-- One row per pair, with what a policy looks at.
--
-- In:   pairs, scores (views over shards)
-- Out:  view candidates: pair_id, vision_task, edit_type, own_reason, score_reason, one column per score
--       A score that is not finite counts as none. A pair without a row in scores has no scores.
-- Text: {reason}: "p.reason", or with withdrawals: of the pairs in the table revoked (column pair_id) at least 'revoked'
--       {scores}: "CASE WHEN isfinite(s.<name>) THEN s.<name> END AS <name>, ..." for the names of schema.SCORE_NAMES

CREATE TEMP VIEW candidates AS
SELECT
    p.pair_id,
    p.vision_task,
    p.edit_type,
    {reason} AS own_reason,
    s.reason AS score_reason,
    {scores}
FROM pairs AS p
LEFT JOIN scores AS s USING (pair_id)
