"""How a run's tensors lie on its ranks: each has all of them, or each has a part (`trainer.sharded_layout`)."""

from typing import Protocol

from torch import Tensor


class Layout(Protocol):
    """Turns whole tensors into what a rank holds, and back."""

    is_sharded: bool

    def local(self, tensor: Tensor) -> Tensor:
        """This rank's own numbers of a weight, as a plain tensor that shares its memory."""

    def whole(self, tensor: Tensor) -> Tensor:
        """All ranks' numbers of a weight, gradient norm or moment. All ranks must call it."""

    def as_weight(self, part: Tensor, weight: Tensor) -> Tensor:
        """A tensor of which this rank has ``part``, laid out as ``weight`` is."""

    def like(self, tensor: Tensor, weight: Tensor) -> Tensor:
        """A whole tensor on the device of ``weight`` and laid out as it is. All ranks must call it."""


class WholeLayout:
    """One rank, or DDP: each rank has everything."""

    is_sharded = False

    def local(self, tensor: Tensor) -> Tensor:  # noqa: D102 (see Layout)
        return tensor

    def whole(self, tensor: Tensor) -> Tensor:  # noqa: D102
        return tensor

    def as_weight(self, part: Tensor, weight: Tensor) -> Tensor:  # noqa: D102
        return part

    def like(self, tensor: Tensor, weight: Tensor) -> Tensor:  # noqa: D102
        return tensor.to(weight.device)
