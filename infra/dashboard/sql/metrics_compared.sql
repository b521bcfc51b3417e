-- The metric rows of one or two evaluations, controls apart.
--
-- In:   metrics (with filename)
-- Out:  the columns that a table shows; by file and row

SELECT
    filename,
    benchmark,
    vision_task,
    metric,
    value,
    low,
    high,
    num_samples,
    unit,
    backend,
    paper_value,
    paper_bound,
    paper_place,
    checkpoint_sha256,
    mix_sha256,
    seed,
    code_version,
    config
FROM metrics
