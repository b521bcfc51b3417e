-- Another 64-bit number for each pair of numbers, as if by chance: what pairs are drawn and ordered by.
-- Plain arithmetic, so the same in any version: twice the middle 64 of the 128 bits of a product. Each number stands
-- once, as the engine works out again whatever a filter repeats.
--
-- In:   x UBIGINT; word UBIGINT: the seed's
-- Out:  macro stir(x, word): UBIGINT

CREATE TEMP MACRO stir(x, word) AS (
    (
        (
            (
                ((xor(x, word)::UHUGEINT * 11400714819323198485::UHUGEINT) >> 32)
                & 18446744073709551615::UHUGEINT
            ) * 13787848793156543929::UHUGEINT
        ) >> 32
    ) & 18446744073709551615::UHUGEINT
)::UBIGINT
