"""The steps of a build called one after the other, or in a few threads: what the flow does, without Prefect.

Run as a script by the kill tests and the benchmarks: ``python plain_build.py HOME PROFILE [WORKERS]``.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from catalog import command_line
from catalog.manifests import Manifest
from catalog.store import Shard
from catalog.workspace import Workspace
from tasks.build_plan import BuildPlan, Job
from tasks.listing import list_source
from tasks.profiles import Profile, read_profile
from tasks.step_calls import Call
from tasks.steps import finish_build, prepare


def build(workspace: Workspace, profile: Profile, workers: int = 1, *, retry: bool = False) -> Manifest:
    """Build everything that the profile names and write the manifest."""
    prepare(workspace)
    plan = BuildPlan(workspace, profile)
    for index in range(len(profile.sources)):
        for shard in list_source(workspace, profile, index):
            plan.listed(index, shard)
        plan.listing_ended()

    def run(job: Job) -> Shard:
        return Call(job.step, workspace, profile, job.inputs, job.extra, retry=retry).run()

    running: dict[Future[Shard], Job] = {}
    with ThreadPoolExecutor(workers) as pool:
        while (jobs := plan.ready()) or running:
            running |= {pool.submit(run, job): job for job in jobs}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                plan.done(running.pop(future), future.result())
    return finish_build(workspace, profile, profile.name, plan.shards)


def main(arguments: Sequence[str]) -> int:
    """HOME PROFILE [WORKERS]."""
    home, profile_path, *rest = arguments
    build(Workspace(Path(home)), read_profile(Path(profile_path)), int(rest[0]) if rest else 1)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
