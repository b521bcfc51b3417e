"""Embedded instructor: `tasks.grammar` over phrases, labels and captions."""

from collections.abc import Sequence

from catalog.errors import RowRejected
from catalog.reasons import Reason
from tasks.backends.protocols import InstructionRequest, library_revision
from tasks.grammar import addition_instruction, removal_instruction, replacement_instruction
from tasks.phrases import subject


class GrammarInstructor:
    """Removal, addition and replacement in fixed forms: "remove the blue bird on top of the tree" (paper 3.2)."""

    name = "grammar"
    device = "cpu"

    def __init__(self) -> None:
        self.revision = library_revision(2)

    def instruct(self, requests: Sequence[InstructionRequest]) -> list[str]:
        """See `protocols.Instructor`.

        Raises:
            RowRejected: no words to go by, or an edit type that has no fixed form.
        """
        return [_instruct(request) for request in requests]


def _instruct(request: InstructionRequest) -> str:
    if request.edit_type == "object_removal":
        return removal_instruction(_phrase(request), request.num_instances)
    if request.edit_type == "object_addition":
        return addition_instruction(_phrase(request), request.num_instances)
    if request.edit_type == "object_replacement":
        # The paper's example (section 3.2) goes from caption to caption; a phrase is closer to the object.
        source = _phrase(request) or subject(request.source_caption or "")
        target = request.replacement_phrase or subject(request.target_caption or "")
        return replacement_instruction(source, target, request.num_instances)
    raise RowRejected(
        Reason.BAD_INSTRUCTION,
        f"the grammar words object_removal, object_addition and object_replacement, not {request.edit_type}",
    )


def _phrase(request: InstructionRequest) -> str:
    """The phrase, or one made of attributes, label and relations as PhraseCut makes its own."""
    if request.phrase:
        return request.phrase
    if not request.label:
        return ""
    relations = [word for relation in request.relations for word in relation]
    return " ".join([*request.attributes, request.label, *relations])
