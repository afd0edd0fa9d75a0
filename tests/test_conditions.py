"""Conditions by kind: requests, draws, embeddings and masks; models of continuous attributes; a
kind that a file adds.
"""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

import pushforward as pf
from pushforward.conditions import Label, Numbers, Request, hidden
from pushforward.conditions.kind import checked
from pushforward.data import VectorSpace
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.paths import Linear
from pushforward.recipes.adversarial import critic_for, generator_for
from pushforward.recipes.autoencoding import decoder_for, encoder_for
from pushforward.recipes.defaults import denoising_network
from pushforward.solvers import Heun
from pushforward.tables import Category
from pushforward.tables.column import Known
from pushforward.testing import Mixture
from pushforward.transports import Flow
from pushforward.transports.likelihood import log_prob

NUMBERS = Numbers(
    ("age", "income"), (40.0, 3.0), (10.0, 1.0), ((20.0, 1.0), (40.0, 3.0), (60.0, 5.0))
)
LABEL = Label(("a", "b", "c"), (0.2, 0.3, 0.5))
BOTH = {"label": LABEL, "given": NUMBERS}
PAIRED = ("mlp", "dcgan", "residual", "textbook")
CODING = ("convolutional", "textbook")


def test_one_value_stands_for_all_samples_and_names_may_be_mixed():
    rows = Request(BOTH).values(3, {"label": "b", "age": 50, "income": [1, 2, 3]}, 7)
    assert rows["label"].tolist() == [1, 1, 1]
    assert rows["given"].tolist() == [[50, 1], [50, 2], [50, 3]]
    whole = Request(BOTH).values(2, {"label": [2, 0], "given": [30, 4]}, 0)
    assert whole["given"].tolist() == [[30, 4], [30, 4]]
    assert whole["label"].tolist() == [2, 0]


def test_what_is_not_asked_for_is_drawn_for_each_seed_alone():
    request = Request(BOTH)
    rows = request.values(6, None, 10)
    assert {tuple(row) for row in rows["given"].tolist()} <= set(NUMBERS.examples)
    for i in range(6):
        single = request.values(1, None, 10 + i)
        assert all(torch.equal(single[name][0], rows[name][i]) for name in BOTH)
    some = request.values(6, {"age": 33}, 10)
    assert torch.equal(some["given"][:, 1], rows["given"][:, 1])
    given = some["given"][:, 0].tolist()
    assert given == [33] * 6


def test_labels_follow_their_frequencies():
    edges = torch.tensor(np.cumsum(LABEL.frequencies)[:-1], dtype=torch.float32)
    wanted = torch.bucketize(ExampleDraws(5, 50, "label").uniform(), edges, right=True)
    actual = Request(BOTH).values(50, None, 5)["label"]
    assert torch.equal(actual, wanted)


def test_masks_are_named_after_their_condition():
    rows = Request(BOTH).values(2, {"label_null": True, "given_null": [True, False]}, 0)
    assert "label" not in rows, "what is hidden everywhere is not drawn"
    assert rows["given_null"].tolist() == [True, False]
    mask = torch.tensor([False, True])
    both = hidden(rows, mask)
    assert both["given_null"].tolist() == [True, True]
    assert both["label_null"].tolist() == [True, True]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"agee": 3}, 'Did you mean "age"'),
        ({"age": "old"}, "must be a number"),
        ({"age": True}, "must be a number"),
        ({"age": [1, 2]}, "list or tensor of 3 numbers"),
        ({"age": 3, "given": [1, 2]}, 'contains "age"'),
        ({"given": [1, 2, 3]}, r"shape \(2,\)"),
        ({"age": float("inf")}, "finite"),
        ({"label": 3}, "between 0 and 2"),
        (3, "must be a dict"),
    ],
)
def test_requests_that_cannot_be_are_refused(asked, says):
    with pytest.raises(UsageError, match=says):
        Request(BOTH).values(3, asked, 0)


def test_what_has_nothing_to_draw_from_is_asked_for():
    for kinds in ({"label": Label(("a", "b"))}, {"given": Numbers(("age",), (40.0,), (10.0,))}):
        with pytest.raises(UsageError, match="to draw"):
            Request(kinds).values(2, None, 0)
    label = Request({"label": Label(("a", "b"))}).values(2, {"label": 1}, 0)["label"].tolist()
    assert label == [1, 1]


def test_numbers_keep_evenly_spaced_examples():
    values = np.random.default_rng(0).normal(size=(5000, 2)).astype(np.float32)
    kind = Numbers.measure(values, ("a", "b"))
    drawn = np.array(kind.examples)
    assert len(drawn) == 1024
    names = set(map(tuple, drawn.astype(np.float32).tolist()))
    expected = set(map(tuple, values.tolist()))
    assert names <= expected
    mean = abs(
        np.sort(drawn[:, 0]) - np.quantile(values[:, 0], (np.arange(1024) + 0.5) / 1024)
    ).mean()
    assert mean < 2e-3
    assert kind.mean == pytest.approx(values.mean(0), abs=1e-5)


TABLE = pf.data.VectorSpace((5,), (0,) * 5, (1,) * 5, conditions=BOTH)
IMAGE = pf.data.ImageSpace((2, 6, 7), (0,) * 2, (1,) * 2, (0,) * 2, (1,) * 2, conditions=BOTH)
NETWORKS = {
    "denoiser mlp": (lambda: denoising_network(TABLE, "tiny"), (5,)),
    **{
        f"denoiser {kind}": (lambda kind=kind: denoising_network(IMAGE, "tiny", kind), IMAGE.shape)
        for kind in ("unet", "dit")
    },
    **{
        f"generator {kind}": (lambda kind=kind: generator_for(IMAGE, "tiny", 4, kind), (4,))
        for kind in PAIRED
    },
    **{
        f"critic {kind}": (lambda kind=kind: critic_for(IMAGE, "tiny", kind), IMAGE.shape)
        for kind in PAIRED
    },
    **{
        f"encoder {kind}": (lambda kind=kind: encoder_for(IMAGE, "tiny", 4, kind), IMAGE.shape)
        for kind in CODING
    },
    **{
        f"decoder {kind}": (lambda kind=kind: decoder_for(IMAGE, "tiny", 4, kind), (4,))
        for kind in CODING
    },
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_receives_numbers_and_their_null(name):
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    network = build().double().eval()
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    x = torch.randn(1, *shape, dtype=torch.float64).expand(4, *shape)
    t = torch.full((4,), 0.4).double() if name.startswith("denoiser") else None
    given = torch.tensor([[20.0, 1.0], [20.0, 1.0], [60.0, 1.0], [20.0, 5.0]]).double()
    label = torch.zeros(4, dtype=torch.int64)
    mask = torch.tensor([True, False, False, False])
    y = network(x, t, {"label": label, "given": given, "given_null": mask}).reshape(4, -1)
    for a in range(4):
        for b in range(a):
            largest = (y[a] - y[b]).abs().max()
            assert largest > 1e-6, "null, values and columns differ"
    actual = network(x, t, {"label": label}).reshape(4, -1)[0]
    torch.testing.assert_close(actual, y[0])
    with pytest.raises(UsageError, match="floats of shape"):
        network(x, t, {"label": label, "given": given[:, :1]})


def test_a_density_is_that_given_the_class():
    centres = [[-0.5, 0.2], [0.4, 0.1]]

    labels = {"label": Label(("a", "b"), (0.5, 0.5))}

    class OfClass:
        path = Linear()
        space = VectorSpace((2,), (0.0, 0.0), (1.0, 1.0), conditions=labels)

        def predict(self, kind, x, t, condition=None):
            first, other = (
                Mixture(self.path, [centre], 0.7).predict(kind, x, t) for centre in centres
            )
            return torch.where(condition["label"][:, None] == 0, first, other)

    x = torch.tensor([[0.3, -0.4]] * 2, dtype=torch.float64)
    label = torch.tensor([0, 1])
    log_density = log_prob(Flow(OfClass(), Heun(), 5), x, {"label": label}, steps=40)
    wanted = [multivariate_normal(centre, 0.49).logpdf(x[0].numpy()) for centre in centres]
    assert log_density.tolist() == pytest.approx(wanted, abs=2e-3)


def test_a_table_without_classes_may_have_a_column_called_label():
    known = Known((Category("label", ("a", "b"), (0.5, 0.5)),))
    assert checked({"known": known}) == {"known": known}
    with pytest.raises(UsageError, match=r"[Rr]ename them: label"):
        checked({"label": LABEL, "known": known})
