r"""Flow ``expand-instructions``: templates multiplied by a language model or the grammar, for a person to review.

::

    prefect deployment run expand-instructions
    prefect deployment run expand-instructions -p by=openai \
        -p 'options={"url": "http://127.0.0.1:8000/v1", "model": "qwen"}'

The same as `python -m tasks expand`, one Prefect task per template file. An endpoint's answers are kept, so the same
command after a failure asks only what is missing.
"""

from typing import Annotated, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from catalog.errors import UserError
from catalog.instruction_templates import SLOTS
from catalog.outputs import check_output_folder
from catalog.workspace import Workspace
from flows.run_artifacts import publish_expansions
from flows.timing import timed
from tasks.expand_command import TARGET, make_proposer
from tasks.template_expansion import Expansion, expand, write_expansion


@task(task_run_name="expand {name}", persist_result=False, cache_policy=NO_CACHE)
def expand_templates(name: str, by: str, options: dict[str, Any], target: int, output: str) -> Expansion:
    """One template file and its record."""
    workspace = Workspace.default()
    with timed(workspace, "expand"):
        proposer = make_proposer(by, options)
        expansion = expand(name, proposer, target)
        write_expansion(expansion, proposer.facts, workspace.home / output)
    return expansion


@flow(name="expand-instructions", flow_run_name="expand by {by}")
def expand_instructions(
    names: Annotated[list[str] | None, Field(description="Template files; all where absent.")] = None,
    by: Annotated[str, Field(description="Who writes: grammar, openai or transformers.")] = "grammar",
    options: Annotated[
        dict[str, Any] | None, Field(description="Its options: url, model, api_key_env, ...; weights, device, ...")
    ] = None,
    target: Annotated[int, Field(description="Sentences to add to those by hand.")] = TARGET,
    output: Annotated[str, Field(description="Folder for the files, below the workspace.")] = "templates",
) -> State[Any]:
    """Expand each template file, publish the counts."""
    try:
        folder = check_output_folder(Workspace.default().home / output)
        done = [expand_templates(name, by, options or {}, target, output) for name in names or list(SLOTS)]
    except UserError as error:
        return Failed(message=str(error))
    publish_expansions(done, folder)
    if short := [one.name for one in done if len(one.added) < target]:
        return Failed(message=f"{', '.join(short)} did not reach {target} sentences; what there is lies in {folder}")
    return Completed(message=f"{sum(len(one.added) for one in done)} sentences in {folder}: review them")
