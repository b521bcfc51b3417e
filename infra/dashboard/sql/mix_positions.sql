-- Some rows in training order, with what showing them takes.
--
-- In:   mix; parameters $first, $count BIGINT: positions
-- Out:  one row per position

SELECT
    position,
    mix_source,
    repeat,
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
    NULL::VARCHAR AS reason
FROM mix
WHERE position BETWEEN $first AND $first + $count - 1
ORDER BY position
