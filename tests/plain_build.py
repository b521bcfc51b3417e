"""The steps of a build called one after the other, or in a few threads: what the flow does, without Prefect.

Run as a script by the kill tests and the benchmarks: ``python plain_build.py HOME PROFILE [WORKERS]``.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from catalog import command_line
from catalog.manifests import Manifest
from catalog.store import Shard
from catalog.workspace import Workspace
from tasks.listing import list_source
from tasks.profiles import Profile, read_profile
from tasks.steps import finish_build, prepare, run_step, successors


def build(workspace: Workspace, profile: Profile, workers: int = 1) -> Manifest:
    """Build everything that the profile names and write the manifest."""
    prepare(workspace)
    shards: list[Shard] = []
    with ThreadPoolExecutor(workers) as pool:

        def follow(done: list[Shard]) -> list[Shard]:
            jobs = [(step, shard) for shard in done for step in successors(workspace, profile, shard)]
            return list(pool.map(lambda job: run_step(job[0], workspace, profile, [job[1]]), jobs))

        def per_shard(done: list[Shard]) -> list[Shard]:
            return [shard for shard in done if shard.table != "pairs"]

        listings = [shard for index in range(len(profile.sources)) for shard in list_source(workspace, profile, index)]
        wave = listings
        while wave:
            shards += wave
            wave = follow(per_shard(wave))
        regions = [shard for shard in shards if shard.table == "regions" and shard.num_rows]
        references = run_step("references", workspace, profile, regions)
        pairs = [shard for shard in shards if shard.table == "pairs" and successors(workspace, profile, shard)]
        extra = {"references": references}
        scores = pool.map(lambda shard: run_step("score", workspace, profile, [shard], extra), pairs)
        shards += [references, *scores]
    return finish_build(workspace, profile, profile.name, shards)


def main(arguments: Sequence[str]) -> int:
    """HOME PROFILE [WORKERS]."""
    home, profile_path, *rest = arguments
    build(Workspace(Path(home)), read_profile(Path(profile_path)), int(rest[0]) if rest else 1)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
