"""The error of one process that all processes of a training raise."""

import torch

from pushforward.errors import DataError, GroupError
from pushforward.training.agreement import Board, _rebuilt, is_loss


def test_errors_of_another_process_have_its_code():
    error = _rebuilt({"rank": 2, "kind": "DataError", "words": "it is not there"})
    assert isinstance(error, DataError)
    assert str(error) == "In process 2: it is not there"
    assert isinstance(_rebuilt({"rank": 2, "kind": "MemoryError", "words": ""}), MemoryError)
    assert type(_rebuilt({"rank": 2, "kind": "KeyError", "words": "'x'"})) is RuntimeError
    assert is_loss(RuntimeError("[gloo/transport/tcp/pair.cc:537] Connection closed by peer"))
    assert not is_loss(GroupError("gloo"))
    assert not is_loss(RuntimeError("shapes differ"))


def test_a_process_that_fails_posts_its_error_and_then_ends_its_connections():
    board, error, known = Board(torch.distributed.HashStore(), 0, 1), ValueError("it is lost"), []
    assert board.settled(error, "a step", 1.0, lambda: known.append(board._first(0.0)["words"])) is error
    assert known == ["it is lost"]
