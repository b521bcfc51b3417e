-- What showing a pair takes: the beginning of a query, whose FROM is a shard of pairs.

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
