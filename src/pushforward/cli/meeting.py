"""Where the processes that ``--devices`` starts on one machine meet: in a file, so that no other machine can reach them."""

from __future__ import annotations

from torch.distributed import HashStore
from torch.distributed.elastic.rendezvous import (
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous

__all__ = ["BACKEND"]

BACKEND = "file"  # the name by which torch's launcher finds what is here, with the path of a file as its endpoint


class _OneMachine(StaticTCPRendezvous):
    """The only launcher of a launch; torch's own opens a `torch.distributed.TCPStore`, which listens to all machines."""

    def __init__(self, parameters: RendezvousParameters) -> None:
        super().__init__(parameters.endpoint, 0, 0, 1, parameters.run_id, 0)

    def get_backend(self) -> str:
        return BACKEND

    def next_rendezvous(self) -> RendezvousInfo:
        """The launcher's own store, and MASTER_ADDR for its processes."""
        return RendezvousInfo(HashStore(), 0, 1, RendezvousStoreInfo(self.master_addr, 0))


rendezvous_handler_registry.register(BACKEND, _OneMachine)
