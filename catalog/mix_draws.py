"""The draw of a mix: which pairs, how often, in which order, by numbers that seed and key of a pair alone decide.

The r pairs of a source with the smallest numbers are its remainder. As the numbers are spread evenly, those below a
threshold a little above r / n are enough of them and few more, so that none but they are ever sorted.
"""

from collections.abc import Sequence
from math import sqrt

import duckdb
import pyarrow as pa

from catalog.queries import fetch_rows, load_sql, run_query
from catalog.text_keys import text_key

_ALL = 2**64 - 1
_SPREAD = 6.0  # standard deviations: one draw in a billion needs a second look


def draw_pairs(
    connection: duckdb.DuckDBPyConnection, seed: int, num_pairs: Sequence[int], num_draws: Sequence[int]
) -> None:
    """Make the tables ``mix_draws`` and ``drawn_ids`` from ``mix_candidates`` and ``mix_members``.

    Args:
        connection: where `mix_inputs.open_inputs` has made its views, and the pairs have been counted.
        seed: of the mix file.
        num_pairs: training pairs of each source, by its place in the file.
        num_draws: training samples of each source.
    """
    run_query(connection, "stir")
    passes = [draws // max(1, pairs) for pairs, draws in zip(num_pairs, num_draws, strict=True)]
    remainders = [draws % max(1, pairs) for pairs, draws in zip(num_pairs, num_draws, strict=True)]
    spread = _SPREAD
    while True:
        reaches = [reach_of(few, pairs, spread) for pairs, few in zip(num_pairs, remainders, strict=True)]
        quotas = {
            "ordinal": pa.array(range(len(passes)), pa.int32()),
            "passes": pa.array(passes, pa.int32()),
            "remainder": pa.array(remainders, pa.int64()),
            "reach": pa.array(reaches, pa.uint64()),
        }
        connection.register("mix_quotas", pa.table(quotas))
        run_query(connection, "mix_near", word=text_key(f"{seed}:draw"), reach=_ALL if any(passes) else max(reaches))
        if not fetch_rows(connection, load_sql("mix_shortages"))[0]["num_short"]:
            break
        spread *= 4  # ends at the latest where every pair is within reach
    run_query(connection, "mix_draws", word=text_key(f"{seed}:order"))
    run_query(connection, "drawn_ids")


def reach_of(remainder: int, num_pairs: int, spread: float) -> int:
    """A number below which at least ``remainder`` of ``num_pairs`` even random numbers of 64 bits lie, most likely.

    ``spread`` is in standard deviations.
    """
    if remainder == 0:
        return 0
    share = remainder / num_pairs
    more = spread * (sqrt(share * (1 - share) / num_pairs) + spread / num_pairs)
    return min(_ALL, int((share + more) * 2**64))
