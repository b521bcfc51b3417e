-- Some pairs, with what showing them takes.
--
-- In:   pairs; parameter $ids VARCHAR[]
-- Out:  one row per pair

SELECT
    pair_id,
    vision_task,
    edit_type,
    dataset,
    split,
    instruction,
    source_image,
    target_image,
    edit_mask,
    phrase,
    label,
    mask,
    bbox,
    keypoints,
    class_names,
    present_classes,
    reason,
    detail
FROM pairs
WHERE pair_id IN (SELECT unnest($ids))
