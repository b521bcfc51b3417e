-- How many pairs of each kind there are, and how their draw hashes are spread.
-- A draw hash is stable by definition (MD5 of seed and pair_id), and bucket is its leading 12 bits.
--
-- In:   mix_candidates; parameter $seed VARCHAR
-- Out:  table mix_tally: dataset, vision_task, edit_type, split, fate, bucket (null unless drawn from), num_pairs

CREATE TEMP TABLE mix_tally AS
SELECT
    dataset,
    vision_task,
    edit_type,
    split,
    fate,
    CASE
        WHEN split = 'train' AND fate = 'accepted'
            THEN (md5_number_lower($seed || ':draw:' || pair_id) >> 52)::INTEGER
    END AS bucket,
    count(*) AS num_pairs
FROM mix_candidates
GROUP BY ALL
