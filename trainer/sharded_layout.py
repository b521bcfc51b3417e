"""Weights, gradients and optimizer state in equal parts over the ranks: PyTorch's FSDP2, whose tensors are DTensors."""

from typing import Any

from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from trainer.ranks import Ranks


class ShardedLayout:
    """FSDP: each rank has its part of every tensor. See `trainer.layout.Layout`."""

    is_sharded = True

    def __init__(self, unet: Any, ranks: Ranks) -> None:
        """Cut ``unet`` in place, block by block."""
        mesh = init_device_mesh(ranks.device.type, (ranks.size,))
        for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
            fully_shard(block, mesh=mesh)
        fully_shard(unet, mesh=mesh)

    def local(self, tensor: Tensor) -> Tensor:  # noqa: D102 (see Layout)
        return tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor

    def whole(self, tensor: Tensor) -> Tensor:  # noqa: D102
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def as_weight(self, part: Tensor, weight: Tensor) -> Tensor:  # noqa: D102
        assert isinstance(weight, DTensor)
        shape, stride = weight.shape, weight.stride()
        return DTensor.from_local(part, weight.device_mesh, weight.placements, shape=shape, stride=stride)

    def like(self, tensor: Tensor, weight: Tensor) -> Tensor:  # noqa: D102
        assert isinstance(weight, DTensor)
        return distribute_tensor(tensor.to(weight.device), weight.device_mesh, weight.placements)
