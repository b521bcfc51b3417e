-- The last answer of each person about some pairs.
--
-- In:   reviews; parameters $verdicts VARCHAR (the decision's key), $pairs VARCHAR[]
-- Out:  pair_id, person, answer, given_at; by pair and person

SELECT
    pair_id,
    person,
    arg_max(answer, given_at) AS answer,
    max(given_at) AS given_at
FROM reviews
WHERE verdicts = $verdicts AND list_contains($pairs, pair_id)
GROUP BY pair_id, person
ORDER BY pair_id, person
