-- Which source of the mix a kind of pair belongs to: the first one that matches.
--
-- In:   mix_tally; mix_sources: ordinal, name, dataset, vision_task, edit_type (null: any)
-- Out:  table mix_members: dataset, vision_task, edit_type, ordinal; one row per kind that belongs anywhere

CREATE TEMP TABLE mix_members AS
SELECT
    k.dataset,
    k.vision_task,
    k.edit_type,
    min(s.ordinal) AS ordinal
FROM (SELECT DISTINCT dataset, vision_task, edit_type FROM mix_tally) AS k
JOIN mix_sources AS s
    ON
        (s.dataset IS NULL OR s.dataset = k.dataset)
        AND (s.vision_task IS NULL OR s.vision_task = k.vision_task)
        AND (s.edit_type IS NULL OR s.edit_type = k.edit_type)
GROUP BY k.dataset, k.vision_task, k.edit_type
