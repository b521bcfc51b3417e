-- The last answer of each person to each item of an alignment set. One about other pictures than the set has now does
-- not count: its ``shown`` is not that of the item.
--
-- In:   answers (a file each)
-- Out:  person, judge (null: a person), item_id, variants, shown, number, recorded_at; by person and item

SELECT
    person,
    judge,
    item_id,
    variants,
    shown,
    number,
    recorded_at
FROM answers
QUALIFY row_number() OVER (PARTITION BY person, item_id ORDER BY number DESC) = 1
ORDER BY person, item_id
