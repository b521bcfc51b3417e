-- How often people agree with what a policy did: by condition, and of the accepted pairs.
--
-- Only pairs that chance showed count. A pair has one vote: that of most people, each by the last answer; where they are
-- divided, or nobody is sure, none.
--
-- In:   verdicts (view over the shards of a decision), reviews; parameter $verdicts VARCHAR (the decision's key)
-- Out:  condition (null: accepted), num_pairs (in the stratum), num_right, num_wrong (pairs whose vote says that the
--       policy was right or wrong), num_open (seen, without a vote), num_people; one row per condition that rejects
--       any pair, and one for the accepted ones

WITH latest AS (
    SELECT
        pair_id,
        person,
        any_value(condition) AS condition,
        arg_max(answer, given_at) AS answer
    FROM reviews
    WHERE verdicts = $verdicts
    GROUP BY pair_id, person
    HAVING bool_or(drawn)
),

votes AS (
    SELECT
        pair_id,
        any_value(condition) AS condition,
        count(*) FILTER (answer = 'good') AS num_good,
        count(*) FILTER (answer = 'bad') AS num_bad
    FROM latest
    GROUP BY pair_id
),

tally AS (
    SELECT
        condition,
        count(*) FILTER (CASE WHEN condition IS NULL THEN num_good > num_bad ELSE num_bad > num_good END) AS num_right,
        count(*) FILTER (CASE WHEN condition IS NULL THEN num_good < num_bad ELSE num_bad < num_good END) AS num_wrong,
        count(*) FILTER (num_good = num_bad) AS num_open
    FROM votes
    GROUP BY condition
),

people AS (
    SELECT condition, count(DISTINCT person) AS num_people
    FROM latest
    GROUP BY condition
)

SELECT
    s.condition,
    s.num_pairs,
    coalesce(t.num_right, 0) AS num_right,
    coalesce(t.num_wrong, 0) AS num_wrong,
    coalesce(t.num_open, 0) AS num_open,
    coalesce(p.num_people, 0) AS num_people
FROM (SELECT condition, count(*) AS num_pairs FROM verdicts GROUP BY condition) AS s
LEFT JOIN tally AS t ON s.condition IS NOT DISTINCT FROM t.condition
LEFT JOIN people AS p ON s.condition IS NOT DISTINCT FROM p.condition
ORDER BY s.condition NULLS FIRST
