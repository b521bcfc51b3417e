-- One row per usable pair, with its fate so far, where verdicts settle it: quicker to scan than a join with nothing.
--
-- In:   judged_pairs
-- Out:  view mix_candidates: as in mix_candidates.sql, without barred pairs

CREATE TEMP VIEW mix_candidates AS
SELECT
    pair_key,
    dataset,
    vision_task,
    edit_type,
    split,
    CASE WHEN accepted THEN 'accepted' ELSE 'rejected' END AS fate
FROM judged_pairs
