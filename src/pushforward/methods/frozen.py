"""Frozen parts beside a method's own networks: a teacher, an autoencoder, features in which images are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from torch import Tensor, nn

from pushforward.errors import UsageError


class _Parts(dict[str, nn.Module]):
    """Frozen modules by name. A copy of what holds them holds the same modules, not copies of them."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Parts:
        return self


class Freezing(nn.Module):
    """A module that may hold frozen ones beside its own.

    A frozen part belongs to no player. It is in no checkpoint and in no average: a run stores it once, with its hash. It moves
    between devices with the rest.
    """

    _frozen: _Parts

    def __init__(self) -> None:
        super().__init__()
        self._frozen = _Parts()

    def freeze(self, name: str, module: nn.Module) -> None:
        """Keep a module as it is: in evaluation mode and without gradients. It is then read as ``self.NAME``.

        Args:
            name: Of the part, and of the folder that it is stored in. Where it is also an argument of the constructor, a run
                can be rebuilt.
            module: Taken as it is; a copy of this module shares it.

        Raises:
            UsageError: If the name is taken, or is no name.
        """
        if not name.isidentifier() or name in self._frozen or name in self._modules or name in self._parameters:
            raise UsageError(f'"{name}" cannot be the name of a frozen part: it must be a free name of an attribute.')
        self._frozen[name] = module.eval().requires_grad_(False)

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """All frozen parts by name, those of modules inside it too; they belong to no player.

        Raises:
            UsageError: If two different ones share a name.
        """
        parts: dict[str, nn.Module] = {}
        for module in self.modules():
            for name, part in module._frozen.items() if isinstance(module, Freezing) else ():
                if parts.setdefault(name, part) is not part:
                    raise UsageError(f'Two frozen parts are called "{name}"; give each a name of its own.')
        return parts

    def __getattr__(self, name: str) -> Any:
        frozen = self.__dict__.get("_frozen", {})
        return frozen[name] if name in frozen else super().__getattr__(name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for part in self._frozen.values():
            part._apply(fn, recurse)
        return self
