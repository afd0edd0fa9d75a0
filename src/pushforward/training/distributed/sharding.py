"""Weights that are sharded over processes, each network by itself."""

from __future__ import annotations

from typing import Any

from torch import nn

from pushforward.denoisers import Denoiser
from pushforward.errors import UsageError
from pushforward.methods.method import Method

_meshes: list[Any] = []
"""What `shard` has laid weights out on."""


def shard(method: Method, device: str, count: int) -> list[Any]:
    """Shard the networks of a method's players over all processes, in place; returns them.

    Raises:
        UsageError: As `called`.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    method._apply(lambda tensor: tensor.contiguous())  # the layout "channels last" cannot be sharded
    mesh = init_device_mesh(device, (count,))
    _meshes.append(mesh)
    networks: list[Any] = [network for name, player in method.players.items() for network in called(name, player)]
    for network in networks:
        fully_shard(network, mesh=mesh, reshard_after_forward=True)
        # losses are shares of the whole batch's mean, so that gradients add up
        network.set_gradient_divide_factor(1.0)
        network.set_force_sum_reduction_for_comms(True)
        # a penalty on a slope goes back through the network twice, so whole weights are dropped at the end of a turn
        network.set_reshard_after_backward(False)
    return networks


def release() -> None:
    """Let go of the processes' group, which torch's caches of sharded tensors hold by their mesh until the interpreter ends."""
    while _meshes:
        getattr(_meshes.pop(), "_pg_registry", {}).clear()


def called(name: str, player: nn.Module) -> list[nn.Module]:
    """The modules of a player whose forward pass a method runs: whole weights are there while it runs and in its backward pass.

    A player without a forward pass of its own (a VAE) is a few networks that have one; what it holds besides, such as a variance,
    stays whole in every process.

    Raises:
        UsageError: For a player without such networks, or with weights that cannot be sharded.
    """
    network = player.network if isinstance(player, Denoiser) else player
    networks = _running(network)
    if not networks:
        raise UsageError(
            f'The player "{name}" has no network with a forward pass of its own, so its weights cannot be sharded. '
            "Train it with whole weights in every process: `shard=False`."
        )
    if any(nn.utils.parametrize.is_parametrized(module) for module in network.modules()):
        raise UsageError(
            f'The player "{name}" has weights that are computed from others, as spectral norms do, which torch cannot shard. '
            "Train it with whole weights in every process: `shard=False`."
        )
    return networks


def _running(module: nn.Module) -> list[nn.Module]:
    if type(module).forward is not nn.Module.forward and any(True for _ in module.parameters()):
        return [module]
    return [part for child in module.children() for part in _running(child)]
