"""Flow ``build-mix``: a policy decides over the scores, then the accepted pairs become one sampling plan.

::

    prefect deployment run build-mix
    prefect deployment run build-mix -p policy=infra/policies/paper.toml -p plan=infra/mixes/paper.toml

Nothing is made again: another policy or plan over the same build takes seconds.
"""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from catalog.decisions import Decision
from catalog.decisions import decide as decide_build
from catalog.errors import UserError
from catalog.mix_plans import MixPlan
from catalog.mixes import MixSummary
from catalog.mixes import build_mix as write_mix
from catalog.outputs import check_output
from catalog.policies import Policy
from catalog.policy_diff import find_replaced
from catalog.reports import counted, replaced_policy
from catalog.workspace import Workspace
from flows.run_artifacts import publish_decision, publish_mix
from flows.timing import timed, timed_mix


@task(task_run_name="decide {build}", persist_result=False, cache_policy=NO_CACHE)
def decide(build: str, policy_file: str) -> Decision:
    """One verdict per pair of a build."""
    workspace, policy = Workspace.default(), Policy.read(Path(policy_file))
    replaced = find_replaced(workspace, build, policy)
    with timed(workspace, "decide") as work:
        decision = decide_build(workspace, build, policy)
        work.made = decision.made
    if replaced is not None:
        get_run_logger().warning(replaced_policy(build, replaced, policy))
    return decision


@task(task_run_name="mix", persist_result=False, cache_policy=NO_CACHE)
def mix(builds: list[str], policy_file: str, plan_file: str, output: str) -> MixSummary:
    """The sampling plan, one Parquet file."""
    workspace = Workspace.default()
    place = check_output(workspace.home / output, ".parquet", workspace)
    policy, plan = Policy.read(Path(policy_file)), MixPlan.read(Path(plan_file))
    with timed_mix(workspace, place):
        return write_mix(workspace, builds, policy, plan, place)


@flow(name="build-mix", flow_run_name="mix {plan}")
def build_mix(
    builds: Annotated[
        list[str] | None, Field(description="Names of builds; the build `build-ieiw` where absent.")
    ] = None,
    policy: Annotated[str, Field(description="Policy file: conditions on scores.")] = "infra/policies/embedded.toml",
    plan: Annotated[str, Field(description="Mix file: sources, weights, seed.")] = "infra/mixes/demo.toml",
    output: Annotated[str, Field(description="The plan, below the workspace.")] = "catalog/mix.parquet",
) -> State[Any]:
    """Decide over each build, then draw the mix from the accepted pairs."""
    names, workspace = builds or ["build-ieiw"], Workspace.default()
    try:
        check_output(workspace.home / output, ".parquet", workspace)
        for name in names:
            publish_decision(decide(name, policy))
        summary = mix(names, policy, plan, output)
        publish_mix(summary)
    except UserError as error:
        return Failed(message=str(error))
    numbers = {"train": summary.num_train, "val": summary.num_val, "test": summary.num_test}
    parts = ", ".join(f"{number} {split}" for split, number in numbers.items())
    return Completed(message=f"{counted(sum(numbers.values()), 'row')} in {output} ({parts})")
