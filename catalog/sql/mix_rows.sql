-- The mix: one row per draw, ready for training. The only query that reads the wide columns of pairs.
--
-- In:   mix_draws, mix_sources, drawn_ids, usable_pairs
-- Out:  schema.MIX; train by position, then val, then test, each by pair_id

SELECT
    d.position,
    d.split,
    s.name AS mix_source,
    d.repeat,
    p.pair_id,
    p.vision_task,
    p.edit_type,
    p.group_id,
    p.dataset,
    p.licence,
    p.region_id,
    p.source_image,
    p.instruction,
    p.target_image,
    p.edit_mask,
    p.phrase,
    p.label,
    p.mask,
    p.bbox,
    p.keypoints,
    p.class_names,
    p.present_classes,
    p.source_caption,
    p.target_caption
FROM usable_pairs AS p
JOIN drawn_ids AS i USING (pair_id)
JOIN mix_draws AS d USING (pair_key)
JOIN mix_sources AS s USING (ordinal)
ORDER BY list_position(['train', 'val', 'test'], d.split), d.position, p.pair_id
