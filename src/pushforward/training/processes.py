"""The processes that train one model together: their sums, and where the weights are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.denoiser import Denoiser
from pushforward.errors import UsageError
from pushforward.methods.method import Method

__all__ = ["Group", "Processes"]


class Processes:
    """One process, which trains by itself; the base of others.

    Attributes:
        rank: The number of this process; the first one, 0, writes the run's files.
        count: How many there are. Each computes the same share of every batch.
    """

    rank: int = 0
    count: int = 1

    def distribute(self, method: Method) -> Method:
        """Bring a method's weights to where the processes keep them; the method itself, or one in its place."""
        return method

    def added(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums of tensors over all processes; each process gives as many of the same shapes."""
        return list(tensors)

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace gradients by their sums over all processes."""

    def agreed(self, wanted: bool) -> bool:
        """Whether any process wants something, so that all do it."""
        return wanted


class Group(Processes):
    """The processes of torch.distributed's default group.

    Args:
        sharded: Whether each holds a share of the weights (`torch.distributed.fsdp.fully_shard`) or all of them.
        device: Where they train, "cpu" or "cuda".

    References:
        Zhao et al., PyTorch FSDP (2023); here in the form of one sharded tensor for each parameter.
    """

    def __init__(self, sharded: bool = False, device: str = "cpu") -> None:
        self.sharded, self.device = sharded, device
        self.rank, self.count = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self._networks: list[Any] = []

    def distribute(self, method: Method) -> Method:
        """Shard the network of each player, or take the weights of the first process for all."""
        if not self.sharded:
            for tensor in method.state_dict().values():
                torch.distributed.broadcast(tensor, 0)
            return method
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device, (self.count,))
        networks: list[Any] = [network for name, player in method.players.items() for network in called(name, player)]
        for network in networks:
            fully_shard(network, mesh=mesh, reshard_after_forward=True)
            # losses are shares of the whole batch's mean, so that gradients add up
            network.set_gradient_divide_factor(1.0)
            network.set_force_sum_reduction_for_comms(True)
            # a penalty on a slope goes back through the network twice, so whole weights are dropped at the end of a turn
            network.set_reshard_after_backward(False)
            self._networks.append(network)
        return method

    def added(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums of tensors over all processes."""
        sums = [tensor.detach().clone() for tensor in tensors]
        for dtype in dict.fromkeys(tensor.dtype for tensor in sums):
            _add([tensor for tensor in sums if tensor.dtype == dtype])
        return sums

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up gradients; those of sharded weights are added up as they are computed, and their whole weights are dropped."""
        for network in self._networks:
            network.reshard()
        _add([p.grad for p in parameters if p.grad is not None and not hasattr(p, "device_mesh")])

    def agreed(self, wanted: bool) -> bool:
        """Whether any process wants something."""
        return bool(self.added([torch.tensor(int(wanted))])[0])


def _add(tensors: Sequence[Tensor]) -> None:
    """Add up tensors of one type over all processes, in place and at once."""
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    torch.distributed.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view(tensor.shape))


def called(name: str, player: nn.Module) -> list[nn.Module]:
    """The modules of a player whose forward pass a method runs: whole weights are there while it runs and in its backward pass.

    A player without a forward pass of its own (a VAE) is a few networks that have one; what it holds besides, such as a variance,
    stays whole in every process.

    Raises:
        UsageError: For a player without such networks, or with weights whose layout cannot be sharded.
    """
    network = player.network if isinstance(player, Denoiser) else player
    networks = _running(network)
    if not networks:
        raise UsageError(
            f'The player "{name}" has no network with a forward pass of its own, so its weights cannot be sharded. '
            "Train it with whole weights in every process: Group(sharded=False)."
        )
    if not all(parameter.is_contiguous() for parameter in network.parameters()):
        raise UsageError(
            f'The player "{name}" has kernels in the layout "channels last", as models of images do, which torch cannot shard. '
            "Train it with whole weights in every process: Group(sharded=False)."
        )
    return networks


def _running(module: nn.Module) -> list[nn.Module]:
    """The outermost modules that have a forward pass: the module itself, or those of its children, of lists of them as well."""
    return [module] if _runs(module) else [part for child in module.children() for part in _running(child)]


def _runs(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward and any(True for _ in module.parameters())
