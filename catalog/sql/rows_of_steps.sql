-- Which rows of a mix a training run saw: sample i is the row at position i modulo the number of positions, and
-- step k sees the samples k * batch to (k + 1) * batch - 1.
--
-- In:   mix (view); parameters $first, $last (steps from 0, the last one excluded), $batch, $num_train BIGINT
-- Out:  step, sample_index, position, pair_id, mix_source, repeat; one row per sample, in order

SELECT
    i // $batch AS step,
    i AS sample_index,
    m.position,
    m.pair_id,
    m.mix_source,
    m.repeat
FROM range($first::BIGINT * $batch, $last::BIGINT * $batch) AS samples (i)
JOIN mix AS m ON m.position = i % $num_train
ORDER BY i
