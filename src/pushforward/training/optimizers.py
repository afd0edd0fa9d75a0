"""One fused AdamW per player, and its state as named tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pushforward.methods import Method
from pushforward.recipes import Training

__all__ = ["Player", "players_of"]


class Player:
    """One player's parameters with their optimiser.

    Args:
        module: What the player updates.
        name: The player's name.
        training: The settings.
    """

    def __init__(self, module: nn.Module, name: str, training: Training) -> None:
        self.module, self.name = module, name
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.lr, self.clip = float(training.of(name, "lr")), training.of(name, "clip")
        betas, decay = training.of(name, "betas"), training.of(name, "weight_decay")
        self.optimizer = torch.optim.AdamW(self.parameters, lr=self.lr, betas=tuple(betas), weight_decay=decay, fused=True)

    def update(self, rate: float) -> None:
        """Make one step with the gradients at hand at ``rate`` times the learning rate, and clear them."""
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip, foreach=True)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """The optimiser's tensors, named PLAYER/PARAMETER/KIND."""
        found = self.optimizer.state_dict()["state"]
        return {f"{self.name}/{i}/{kind}": value for i, kinds in found.items() for kind, value in kinds.items()}

    def _laid_out(self, value: Tensor, index: int) -> Tensor:
        """A state in its parameter's memory format: files hold plain rows, and the fused update reads memory in order."""
        parameter = self.parameters[index]
        return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the state that `state` gave."""
        state: dict[int, dict[str, Any]] = {}
        for path, value in tensors.items():
            name, index, kind = path.rsplit("/", 2)
            if name == self.name:
                state.setdefault(int(index), {})[kind] = self._laid_out(value, int(index))
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def players_of(method: Method, training: Training) -> dict[str, Player]:
    """Each player of a method with its optimiser."""
    return {name: Player(module, name, training) for name, module in method.players.items()}
