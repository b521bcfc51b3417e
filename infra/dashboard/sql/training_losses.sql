-- The training log of some runs, thinned to about $points rows a run: means over stretches of steps.
--
-- In:   log (with filename); parameter $points BIGINT
-- Out:  filename, step (last of the stretch), loss, its parts by task, samples_per_s, data_wait_share, grad_norm,
--       learning_rate, memory_mib; by run and step

WITH sized AS (
    SELECT
        *,
        greatest(1, ceil(count(*) OVER (PARTITION BY filename) / $points))::BIGINT AS width
    FROM log
)

SELECT
    filename,
    max(step) AS step,
    avg(loss) AS loss,
    avg(loss_keypoint_detection) AS loss_keypoint_detection,
    avg(loss_segmentation) AS loss_segmentation,
    avg(loss_image_enhancement) AS loss_image_enhancement,
    avg(loss_image_editing) AS loss_image_editing,
    avg(samples_per_s) AS samples_per_s,
    avg(data_wait_share) AS data_wait_share,
    avg(grad_norm) AS grad_norm,
    max(learning_rate) AS learning_rate,
    max(memory_mib) AS memory_mib
FROM sized
GROUP BY filename, (step - 1) // width
ORDER BY filename, step
