"""What is measured while training, the alarms that come of it, and what the report shows."""

import dataclasses
import io
import json
import math
import re
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward import pictures
from pushforward.cli import main
from pushforward.data.truth import Truth
from pushforward.evaluation import run_results
from pushforward.evaluation.aggregate import aggregated
from pushforward.methods import Method
from pushforward.methods.method import HasCritic
from pushforward.metrics.frechet import frechet_distance
from pushforward.metrics.manifold import prdc
from pushforward.metrics.modes import count_modes
from pushforward.recipes import Recipe, Schedule, Training
from pushforward.report import Report
from pushforward.report.alarms import alarm_periods
from pushforward.report.verdict import verdict
from pushforward.testing import recipe_for, space_data
from pushforward.training import Silent, checkpoint, health, landscape, observers
from pushforward.training import step as steps
from pushforward.training.alarms import Watch, alarms
from pushforward.training.health import FixedNoise, as_sampled, in_numbers, interval, joined
from pushforward.training.progress import Progress
from pushforward.training.resuming import reopen
from pushforward.training.start import prepare
from pushforward.training.tensors import gradient_norm
from pushforward.transports import Map

# Alarms on planted histories --------------------------------------------------------------------------------


def measured(values, every=50, **more):
    """A history: at each multiple of ``every`` one row, with the given modes held of 8 (or coverage, where below 1)."""
    rows = []
    for number, value in enumerate(values, 1):
        measures = {"modes": 8, "modes_held": value, "coverage": value / 10} if isinstance(value, int) else {"coverage": value}
        rows.append({"step": number * every, "health": {**measures, "frechet": 0.1, **more}})
    return rows


def alarms_of(history):
    return [(alarm.kind, alarm.step, alarm.over) for alarm in alarms(history)]


def test_collapse_begins_after_200_steps_and_is_over_at_once():
    history = measured([2, 8, 8, 8, 8, 8, 5, 5, 5, 5, 5, 5, 6, 8], logit_gap=0.3)
    assert alarms_of(history) == [("collapse", 550, False), ("collapse", 650, True)]
    begin, end = alarms(history)
    assert begin.sentence == "the generator reaches 5 of 8 modes; coverage fell from 0.80 to 0.50 in 250 steps"
    assert begin.advice == "raise gamma, or set pack to 2"
    assert (begin.value, begin.threshold) == (5, 6)
    assert "reaches 6 of 8 modes" in end.text
    assert alarms_of(history[:10]) == [], "150 steps are not enough"


@pytest.mark.parametrize(
    ("values", "begins"),
    [
        ([8] * 5 + [6] * 9, None),  # three quarters of those held are held
        ([6] * 5 + [4] * 9, 500),  # three quarters of 8 were held
        ([5] * 5 + [1] * 9, None),  # too few were ever held
        ([8] * 4 + [1] * 9, None),  # not held for 200 steps
        ([8, 1, 8, 8, 8, 8, 1, 8] + [1] * 9, None),  # nor in parts
        ([8] * 5 + [5, 5, 5, 5, 8, 5, 5, 5, 5, 8], None),  # never lost for 200 steps on end
        ([0.4] * 5 + [0.29] * 9, 500),
        ([0.4] * 5 + [0.3] * 9, None),
        ([0.39] * 5 + [0.1] * 9, None),
        ([0.2, 0.4, 0.6, 0.8, 0.97] + [0.9, 0.75] * 5, None),
    ],
)
def test_what_is_a_collapse(values, begins):
    assert alarms_of(measured(values)) == ([] if begins is None else [("collapse", begins, False)])


def test_a_collapse_that_comes_again_is_told_again_and_advice_fits_the_method():
    history = measured([*[0.8] * 5, *[0.1] * 5, 0.8, *[0.1] * 5])
    assert alarms_of(history) == [("collapse", 500, False), ("collapse", 550, True), ("collapse", 800, False)]
    assert alarms(history)[0].text == "coverage fell from 0.80 to 0.10 in 250 steps: lower lr"


def test_modes_that_were_never_found_are_told_of_until_one_is():
    history = measured([0, 1, *[3] * 41, 5, *[4] * 50, 7], logit_gap=0.3, penalty=0.2)
    assert alarms_of(history) == [
        ("missing", 2150, False),
        ("missing", 2200, True),
        ("missing", 4200, False),
        ("missing", 4750, True),
    ]
    begin, *_, end = alarms(history)
    assert begin.text == (
        "the generator has held 3 of 8 modes at best, and no further one for 2,000 steps: raise gamma, or set pack to 2"
    )
    assert (begin.value, begin.threshold, end.sentence) == (3, 6, "the generator has held 7 of 8 modes")


@pytest.mark.parametrize(
    ("values", "more", "says"),
    [
        ([0] * 40, {"logit_gap": 0.3, "penalty": 0.0}, "set penalty to r1+r2, or set pack"),
        ([5] * 41, {}, "train longer, or take a larger size"),
        ([5] * 40, {}, None),  # not yet 2,000 steps
        ([6] * 99, {}, None),  # three quarters
        ([0.1] * 99, {"logit_gap": 0.3}, None),  # modes not known
    ],
)
def test_which_modes_are_missing(values, more, says):
    raised = alarms(measured(values, **more))
    assert [alarm.kind for alarm in raised] == ([] if says is None else ["missing"])
    assert says is None or says in raised[0].advice


@pytest.mark.parametrize(("accuracy", "word"), [(0.5, "lower gamma"), (0.56, "raise gamma"), (1.0, "raise gamma")])
def test_a_critic_at_chance_needs_less_gamma(accuracy, word):
    (begin,) = alarms(measured([8] * 5 + [1] * 5, critic_accuracy=accuracy))
    assert word in begin.advice


def played(steps, accuracy, gap, distance=lambda step: 0.1, coverage=lambda step: 0.5):
    rows = [{"step": s, "health": {"critic_accuracy": accuracy(s), "logit_gap": gap(s)}} for s in range(1, steps + 1)]
    for row in rows[49::50]:
        row["health"] |= {"frechet": distance(row["step"]), "coverage": coverage(row["step"])}
    return rows


def test_a_critic_that_wins_is_told_until_it_does_no_more():
    history = played(1900, lambda s: 1.0 if s <= 1000 else 0.9, lambda s: s / 100)
    assert alarms_of(history) == [("critic", 550, False), ("critic", 1150, True)]
    begin = alarms(history)[0]
    assert (begin.value, begin.threshold) == (1.0, 0.99)
    assert "ranked 100.0% of the examples of 500 steps right, the logit gap went from 1.75 to 4.25" in begin.sentence


@pytest.mark.parametrize(
    ("history", "begins"),
    [
        (played(900, lambda s: 0.99, lambda s: s / 100), 550),
        (played(900, lambda s: 0.9899, lambda s: s / 100), None),
        (played(900, lambda s: 1.0, lambda s: 5.0), None),  # neither large nor rising
        (played(900, lambda s: 1.0, lambda s: 20.0), 550),
        (played(900, lambda s: 1.0, lambda s: 19.9), None),
        (played(900, lambda s: 1.0, lambda s: s / 100, distance=lambda s: math.exp(-s / 1000)), None),  # samples improve
        (played(900, lambda s: 1.0, lambda s: s / 100, coverage=lambda s: s / 1000), None),
        (played(900, lambda s: 0.6 + 0.1 * math.sin(s), lambda s: 0.2 + s / 1e4), None),  # a sound game of pairs
        (played(499, lambda s: 1.0, lambda s: 30.0 + s), None),
    ],
)
def test_when_a_critic_wins(history, begins):
    raised = alarms_of(history)
    assert [alarm for alarm in raised if alarm[0] == "critic"] == ([] if begins is None else [("critic", begins, False)])


def test_without_samples_a_critic_wins_by_its_scores_alone():
    history = [{"step": s, "health": {"critic_accuracy": 1.0, "logit_gap": s / 10}} for s in range(1, 700)]
    assert alarms_of(history) == [("critic", 500, False)]


@pytest.mark.parametrize(
    ("gaps", "begins"),
    [
        ([1.0] * 5 + [10_001.0] * 49, None),
        ([1.0] * 5 + [10_001.0] * 50, 55),
        ([10_000.0] * 80, None),
        ([-2e4] * 50, 50),
        ([None] * 50, 50),
        ([2e4] * 49 + [1.0] + [2e4] * 49, None),
    ],
)
def test_divergence_is_a_gap_above_10000_for_50_steps(gaps, begins):
    history = [{"step": s, "health": {"logit_gap": gap}} for s, gap in enumerate(gaps, 1)]
    assert alarms_of(history) == ([] if begins is None else [("divergence", begins, False)])


def test_a_suspect_gap_is_known_before_it_is_an_alarm():
    watch = Watch()
    for step, (gap, suspect) in enumerate([(1.0, False), (2e4, True), (None, True), (1e4, False)], 1):
        assert watch.read({"step": step, "health": {"logit_gap": gap}}) == []
        assert watch.suspect == suspect


def test_rows_without_health_change_nothing():
    history = measured([*[8] * 5, *[1] * 5])
    bare = [{"step": s, "loss": {"critic": 1.0}} for s in range(1, 500) if s % 50]
    assert alarms_of(sorted(history + bare, key=lambda row: row["step"])) == alarms_of(history) == [("collapse", 500, False)]


# What is measured -------------------------------------------------------------------------------------------


def test_parts_of_a_batch_are_noted_as_the_whole():
    x = torch.randn(192, dtype=torch.float64)
    parts = x.split([128, 64])
    whole = joined([{"gap": part.mean()} | ({"only": part.mean()} if i else {}) for i, part in enumerate(parts)], [128, 64])
    torch.testing.assert_close(whole["gap"], x.mean())
    torch.testing.assert_close(whole["only"], parts[1].mean())


def test_measures_become_numbers_and_what_is_not_finite_null():
    rows = [{"a": torch.tensor(1.0) / 3, "held": 7}, {"a": torch.tensor(math.nan), "b": torch.tensor([2e5]), "c": math.inf}]
    in_numbers(rows)
    assert rows == [{"a": 0.33333, "held": 7}, {"a": None, "b": 2e5, "c": None}]


def test_small_batches_are_measured_more_rarely():
    assert [interval(batch) for batch in (512, 128, 80, 64, 16)] == [50, 50, 50, 100, 250]


class Game(Method):
    """A critic and a generator with batch normalisation and dropout, on pairs."""

    def __init__(self, space, generator=None, critic=None):
        super().__init__()
        d = space.size
        self.space = space
        self.generator = generator or nn.Sequential(nn.Linear(3, 19), nn.BatchNorm1d(19), nn.Dropout(0.3), nn.Linear(19, d))
        self.critic = critic or nn.Sequential(nn.Linear(d, 23), nn.SiLU(), nn.Linear(23, 1))

    @property
    def players(self):
        return {"critic": self.critic, "generator": self.generator}

    def scores(self, x, condition=None):
        return self.critic(x).flatten()

    def samples_of(self, z):
        return self.generator(z)

    def losses(self, batch, now):
        fake = self.samples_of(now.draws.normal((3,)))
        gap = self.scores(batch.x) - self.scores(fake.detach())
        now.notes.update(logit_gap=gap.detach().mean(), critic_accuracy=(gap > 0).float().mean())
        yield "critic", nn.functional.softplus(-gap).mean()
        yield "generator", nn.functional.softplus(self.scores(batch.x).detach() - self.scores(fake)).mean()

    def transport(self):
        return Map(Asked(self.generator), self.space, (3,))


class Asked(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, z, t=None, condition=None):
        return self.inner(z)


def log_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_measuring_changes_no_bit(tmp_path, monkeypatch):
    """Weights, averages, running statistics and optimisers after dropout, with samples, norms and landscapes, and without."""
    data = space_data((2,), labels=False)
    finals = []
    for name in ("with", "without"):
        if name == "without":
            monkeypatch.setattr(FixedNoise, "look", lambda self, moment: {})
            monkeypatch.setattr(steps, "NORMS", 10**9)
            monkeypatch.setattr(observers, "landscape", lambda method, data: {})
        monkeypatch.setattr(health, "interval", lambda batch: 5)
        torch.manual_seed(1)
        pf.fit(Recipe(Game(data.space), Training(batch=64)), data, steps=21, out=tmp_path / name, seed=2)
        finals.append(checkpoint.load(checkpoint.latest(tmp_path / name / "checkpoints")).tensors)
    (mine, other), measured = finals, log_of(tmp_path / "with")
    assert any("running_mean" in key for key in mine["method"])
    for group in mine:
        for key, tensor in mine[group].items():
            assert torch.equal(tensor, other[group][key]), f"{group}/{key}"
    assert [row["step"] for row in measured if "frechet" in row["health"]] == [5, 10, 15, 20]
    assert [row["step"] for row in measured if "gradient_norm/critic" in row["health"]] == [1, 11, 21]
    assert all({"logit_gap", "critic_accuracy"} <= row["health"].keys() for row in measured)


def test_a_method_is_sampled_as_in_use_and_left_as_it_was():
    method = Game(space_data((2,), labels=False).space).train()
    method.critic.eval()
    before, state = [module.training for module in method.modules()], torch.get_rng_state()
    with as_sampled(method):
        assert not any(module.training for module in method.modules())
        torch.rand(3)
    assert [module.training for module in method.modules()] == before
    assert torch.equal(torch.get_rng_state(), state)


class Placed(nn.Module):
    """Gives the same rows whatever the noise."""

    def __init__(self, rows):
        super().__init__()
        self.register_buffer("rows", rows)

    def forward(self, z, t=None, condition=None):
        return self.rows[: len(z)]


def measures_of(data, rows):
    """What is measured of a generator that makes these rows, in data units."""
    game = Game(data.space)
    game.transport = lambda: Map(Placed(data.space.to_model(rows)), data.space, (3,))
    return FixedNoise(data, 128).of(game)


def test_measures_are_those_of_the_metrics(monkeypatch):
    monkeypatch.setattr(health, "BATCH", 1000)
    truth = Truth(np.array([[0.0, 0.0], [4.0, 1.0], [0.0, 5.0]]), 0.3, np.full(3, 1 / 3))
    rng = np.random.default_rng(0)
    rows = truth.centres[rng.integers(3, size=120)] + 0.3 * rng.normal(size=(120, 2))
    data = pf.data.building.build("three", pf.data.dataset.Split(rows.astype(np.float32)), truth=truth)
    samples = truth.centres[rng.integers(2, size=120)] + 0.5 * rng.normal(size=(120, 2))
    samples = torch.tensor(samples[: len(data.train)], dtype=torch.float32)
    measures = measures_of(data, samples)
    of = count_modes(samples.numpy(), truth.centres, truth.std)
    assert (measures["modes"], measures["modes_held"]) == (3, 2)
    assert measures["bridges"] == pytest.approx(of.bridges, abs=1e-6)
    assert measures["spread"] == pytest.approx(of.spread, rel=1e-4)
    mine, real = (data.space.to_model(x).numpy().astype(float) for x in (samples, data.train.data_units()))
    assert measures["coverage"] == pytest.approx(prdc(mine, real, k=5)["coverage"])
    assert measures["frechet"] == pytest.approx(frechet_distance(mine, real) / real.var(0).sum(), rel=1e-4)
    near = torch.tensor(
        truth.centres[rng.integers(3, size=len(data.train))] + 0.6 * rng.normal(size=(len(data.train), 2))
    ).float()
    clouds = [data.space.to_model(x).numpy().astype(float) for x in (near, data.train.data_units())]
    assert measures_of(data, near)["coverage"] == pytest.approx(prdc(*clouds, k=5)["coverage"])
    assert 0.1 < prdc(*clouds, k=4)["coverage"] < prdc(*clouds, k=5)["coverage"] < 1, "a value that depends on k"
    middle = measures_of(data, data.train.data_units().mean(0).expand(len(data.train), 2))
    assert middle["frechet"] == pytest.approx(1, rel=0.02), "one point in the middle: all variance is missing"


def test_images_are_compared_on_their_principal_axes(monkeypatch):
    from sklearn.decomposition import PCA

    monkeypatch.setattr(health, "BATCH", 1000)
    data = space_data((1, 8, 8), labels=False, n=90)
    train = data.space.to_model(data.train.data_units()).flatten(1).numpy().astype(float)
    samples = torch.rand(90, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    oracle = PCA(32, svd_solver="full").fit(train)
    mine, real = (oracle.transform(rows) for rows in (data.space.to_model(samples).flatten(1).numpy(), train))
    measures = measures_of(data, samples)
    assert measures["frechet"] == pytest.approx(frechet_distance(mine, real) / real.var(0).sum(), rel=1e-4)
    assert measures["coverage"] == pytest.approx(prdc(mine, real, k=5)["coverage"])
    assert measures_of(data, torch.full_like(samples, math.nan)) == {}


def test_only_samples_of_one_call_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(health, "interval", lambda batch: 2)
    data = space_data((2,), labels=True)
    for name, cheap in {"flow": False, "vae": True}.items():
        pf.fit(recipe_for(name, data), data, steps=4, out=tmp_path / name)
        assert ["frechet" in row.get("health", {}) for row in log_of(tmp_path / name)] == [False, cheap, False, cheap]


def test_gradient_norms_are_those_before_clipping(tmp_path):
    layer = nn.Linear(3, 5)
    (layer(torch.randn(7, 3)) ** 2).sum().backward()
    flat = torch.cat([p.grad.flatten() for p in layer.parameters()])
    torch.testing.assert_close(gradient_norm(list(layer.parameters())), flat.norm())
    data = space_data((2,), labels=False)
    pf.fit(Recipe(Game(data.space), Training(batch=64, clip=1e-7)), data, steps=1, out=tmp_path / "run")
    assert log_of(tmp_path / "run")[0]["health"]["gradient_norm/critic"] > 1e-3


# Alarms of real trainings -----------------------------------------------------------------------------------


class Fading(Game):
    """Its generator is the data's own Gaussian; from step 30 it is told to give a single point, from step 90 to mend."""

    def __init__(self, space):
        super().__init__(space, nn.Linear(3, space.size, bias=False))
        with torch.no_grad():
            self.generator.weight.copy_(torch.eye(space.size, 3))

    def losses(self, batch, now):
        wanted = torch.eye(*self.generator.weight.shape) * (0.0 if 30 <= now.step < 90 else 1.0)
        now.notes["logit_gap"] = torch.tensor(0.1)
        yield "generator", (self.generator.weight - wanted).square().sum()


class Heard(Silent):
    def __init__(self):
        self.lines, self.words = [], []

    def say(self, line):
        self.lines.append(line)

    def measured(self, name, words):
        self.words.append(words)


def test_a_resumed_run_raises_the_same_alarms(tmp_path, monkeypatch):
    """Cut in the middle of a collapse, before its alarm and after it: what had been seen is read again from the log."""
    monkeypatch.setattr(health, "interval", lambda batch: 5)
    monkeypatch.setattr("pushforward.training.game_alarms.LASTING", 20)
    data = space_data((2,), labels=False, n=200)
    heard, again = Heard(), Heard()
    make = lambda: Recipe(Fading(data.space), Training(batch=64, lr=0.1, schedule=Schedule(warmup=1, decay=0), weight_decay=0))  # noqa: E731
    pf.fit(make(), data, steps=130, out=tmp_path / "whole", progress=heard)
    run = prepare(make(), data, steps=130, out=tmp_path / "cut", progress=again)
    for stop in (50, 75):
        while run.clock.step < stop:
            run.advance(1e-9)
        run.finish()
        run = reopen(tmp_path / "cut", data=data, method=make().method, progress=again)
    run.advance()
    whole, cut = log_of(tmp_path / "whole"), log_of(tmp_path / "cut")
    assert whole == cut
    raised = [(alarm["kind"], alarm["over"]) for row in whole for alarm in row.get("alarm", [])]
    assert raised == [("collapse", False), ("collapse", True)]
    begin, end = [row["step"] for row in whole if "alarm" in row]
    assert 50 < begin < 75 < 90 < end
    assert heard.lines == [line.replace("cut", "whole", 1) for line in again.lines]
    assert len(heard.lines) == 2
    assert re.fullmatch(rf"whole: step {begin}: coverage fell from .* steps: raise gamma.*", heard.lines[0])
    assert heard.words[0].startswith("coverage 0.")


EXPLODING = """
    import torch
    from torch import nn

    from pushforward import Map, Method, Recipe, Training


    class Exploding(Method):
        '''A game whose critic runs away after its 33rd step.'''

        def __init__(self, generator, space):
            super().__init__()
            self.generator, self.space = generator, space

        @property
        def players(self):
            return {"generator": self.generator}

        def losses(self, batch, now):
            made = self.generator(now.draws.normal((2,)), None, None)
            now.notes["logit_gap"] = torch.tensor(1.0 if now.step < 33 else 2e4)
            yield "generator", (made - batch.x).square().mean()

        def transport(self):
            return Map(self.generator, self.space, (2,))


    def mine(space, size: str = "small") -> Recipe:
        '''A game that fails.'''
        from pushforward.networks import MLP

        network = MLP(2, 2, width=8, depth=1, times=0)
        return Recipe(Exploding(network, space), Training(batch=64), "mine", "adversarial")
"""


def test_a_gap_that_runs_away_ends_the_run_and_keeps_the_checkpoint_before(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(textwrap.dedent(EXPLODING))
    words = ["train", "./mine.py", "--data", "moons", "--condition", "none", "--steps", "200", "--out", "run"]
    assert main([*words, "--checkpoint-every", "10"]) == 5
    said = capsys.readouterr().err
    assert "At step 83 the logit gap has been above 10,000 for 50 steps and is 2e+04; run/checkpoints keeps step 30" in said
    assert said.count("above 10,000") == 1
    run = tmp_path / "run"
    assert [path.name for path in sorted((run / "checkpoints").glob("step_*"))] == ["step_000020", "step_000030"]
    rows = log_of(run)
    assert rows[-1]["step"] == 83
    assert [alarm["kind"] for alarm in rows[-1]["alarm"]] == ["divergence"]
    assert main(["sample", "run", "--n", "5", "--out", "x.csv", "--plugin", "./mine.py"]) == 0
    assert len((tmp_path / "x.csv").read_text().splitlines()) in (5, 6)
    assert main(["resume", "run", "--plugin", "./mine.py"]) == 5, "from step 30 it runs away again"


# Landscapes -------------------------------------------------------------------------------------------------


class Plane(nn.Module):
    def __init__(self, slopes):
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor(slopes))

    def forward(self, x):
        return (x @ self.slopes)[:, None]


def test_a_landscape_is_the_critics_value_at_each_point_in_data_units():
    data = space_data((2,), labels=False)
    game = Game(data.space, critic=Plane([1.0, -3.0]))
    assert isinstance(game, HasCritic)
    assert isinstance(pf.recipes.named("gan")(data.space, "tiny").method, HasCritic)
    assert not isinstance(pf.recipes.named("flow")(data.space, "tiny").method, HasCritic)
    values = landscape.landscape(game, data)
    low_x, high_x, low_y, high_y = values["limits"]
    assert low_x < data.train.x[:, 0].min() < data.train.x[:, 0].max() < high_x
    for row, column, point in [(0, 0, (low_x, low_y)), (0, -1, (high_x, low_y)), (-1, 0, (low_x, high_y))]:
        x = (np.array(point) - data.space.mean) / data.space.std
        assert values["scores"][row, column] == pytest.approx(x[0] - 3 * x[1], rel=1e-4)
    assert values["scores"].shape == (64, 64)
    assert values["raw"].shape == (len(data.train.x), 2)
    assert landscape.landscape(game, space_data((17,), labels=False)) == {}
    assert landscape.landscape(pf.recipes.named("flow")(data.space, "tiny").method, data) == {}


def test_with_classes_the_highest_value_is_kept():
    data = space_data((2,), labels=True)
    game = Game(data.space, critic=Plane([1.0, 0.0]))
    game.scores = lambda x, condition: condition["label"] * torch.ones(len(x)) - 5.0 * (condition["label"] == 2)
    assert (landscape.landscape(game, data)["scores"] == 1).all(), "of 0, 1 and -3"


def test_a_landscape_is_drawn_upright_with_the_greatest_value_darkest():
    heights = np.linspace(0, 1, 8)[:, None] + np.zeros((8, 8))
    heights[0, 0] = math.nan
    picture = np.asarray(pictures.landscape_picture(heights, (0, 1, 0, 1), size=90)).astype(int)
    assert tuple(picture[2, 40]) == pictures.HILL, "great y at the top"
    assert tuple(picture[-3, 40]) == pictures.VALLEY
    assert len(np.unique(picture[:, 40], axis=0)) >= 10
    dotted = np.asarray(pictures.landscape_picture(heights, (0, 1, 0, 1), np.array([[0.5, 0.1]]), size=90)).astype(int)
    assert np.argwhere(np.abs(dotted - picture).sum(2) > 60).mean(0) == pytest.approx([81, 45], abs=1.5)
    flat = np.asarray(pictures.landscape_picture(np.ones((4, 4)), (0, 1, 0, 1), size=30))
    assert (flat == pictures.VALLEY).all()


# The report -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """A report of a short training on the ring."""
    folder = tmp_path_factory.mktemp("ring")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUSHFORWARD_CACHE", str(folder / "cache"))
        patch.setattr(observers, "PICTURES", (0.02, 0.1, 0.3, 0.6, 1.0))
        data = pf.data.load("ring", limit=2000)
        data = dataclasses.replace(data, held_out=data.held_out.take(slice(300)))
        run = pf.fit(pf.recipes.named("gan")(data.space, "tiny"), data, steps=120, out=folder / "gan")
        return pf.compare({"gan": run}, data, repeats=1, n=200)


def changed(ring, **fields):
    """The comparison with other fields of its model, read from JSON."""
    content = ring.to_plain()
    content["models"][0] |= fields
    return dataclasses.replace(pf.Comparison.from_plain(content), pictures=ring.pictures)


def test_the_report_of_a_gan_shows_how_training_went(ring):
    page, health = Report(ring).to_html(), ring.models[0].health
    assert len(page.encode()) < 8e6
    section = re.search(r'<section id="health">(.*?)</section>', page, re.S)[1]
    labels = re.findall(r'aria-label="([^"]*) against step"', section)
    assert labels == ["modes held, of 8", "bridges", "critic accuracy", "logit gap"]
    assert re.findall(r'class="figtitle">(step [\d,]+)<', section) == ["step 3", "step 12", "step 36", "step 72", "step 120"]
    assert section.count('<img src="data:image/') == 5
    assert "No alarm was raised." in section
    assert "http" not in section
    series = health.series
    assert health.modes == 8
    assert series["modes_held"].step == (50, 100)
    assert len(series["critic_accuracy"].step) == 120
    assert {"gradient_norm/critic", "gradient_norm/generator", "penalty", "coverage", "frechet", "spread"} <= series.keys()
    assert ring.models[0].alarms == ()
    assert pf.Comparison.from_json(ring.to_json()) == ring


def alarm(kind, step, over=False, **more):
    advice = "" if over else "raise <gamma>"
    return {
        "kind": kind,
        "step": step,
        "value": 3,
        "threshold": 6,
        "sentence": f"{kind} <b>",
        "advice": advice,
        "over": over,
        **more,
    }


def test_alarms_are_warnings_and_shaded(ring):
    changes = [alarm("collapse", 50), alarm("collapse", 100, True), alarm("critic", 110)]
    comparison = changed(ring, alarms=changes)
    begun = [(begin.kind, end and end.step) for begin, end in alarm_periods(comparison.models[0])]
    assert begun == [("collapse", 100), ("critic", None)]
    warnings = [sentence for sentence in verdict(comparison) if sentence.kind == "warning" and sentence.link == "health"]
    assert [sentence.text for sentence in warnings] == [
        "Alarm while gan was trained, at step 50: collapse <b>: raise <gamma>. It was over at step 100.",
        "Alarm while gan was trained, at step 110: critic <b>: raise <gamma>. It still held at the end of training.",
    ]
    page = Report(comparison).to_html()
    assert page.count('<g class="alarm">') == 2 * 4
    assert "<b>" not in page.split("<body>")[1].split("<script")[0]
    diverged = {"alarms": [alarm("divergence", 80)]}
    assert any("divergence" in sentence.text for sentence in verdict(changed(ring, **diverged)))
    broken = changed(ring, **diverged, warnings=["its training broke off."])
    assert not any("divergence" in sentence.text for sentence in verdict(broken)), "said once"


@pytest.mark.parametrize("wrong", [None, {}, {"series": None}, {"series": {"coverage": None}}, {"series": {"coverage": {}}}])
def test_health_may_be_missing(ring, wrong):
    alarms = [None, {}, {"step": 4}, {"step": 5, "over": True}]
    assert 'id="verdict"' in Report(dataclasses.replace(changed(ring, health=wrong, alarms=alarms), pictures={})).to_html()
    assert "Alarm" not in Report(changed(ring, health=wrong, alarms=None)).to_markdown()


def test_alarms_of_all_trainings_of_a_recipe_are_kept(ring):
    models = [changed(ring, name=f"gan-{seed}", seed=seed, alarms=[alarm("collapse", 50)] * seed).models[0] for seed in (0, 1)]
    pooled = aggregated(dataclasses.replace(ring, models=tuple(models), pictures={}))
    assert [alarm.training for alarm in pooled.models[0].alarms] == ["gan-1"]
    assert any("Alarm while gan-1 was trained" in sentence.text for sentence in verdict(pooled))
    page = Report(pooled).to_html()
    assert '<g class="alarm">' not in page, "the curves are those of gan-0"
    assert "gan-1, step 50" in page


def test_long_series_are_means_of_neighbours():
    class Long:
        def losses(self):
            return [{"step": s, "health": {"logit_gap": float(s), "modes": 4, "bad": None}} for s in range(1, 1201)]

    health, alarms = run_results.health_of(Long())
    assert (health.modes, alarms) == (4, ())
    assert health.series.keys() == {"logit_gap"}
    assert len(health.series["logit_gap"].step) == 300
    assert health.series["logit_gap"].value[:2] == (2.5, 6.5)


def test_progress_shows_what_was_measured(monkeypatch):
    class Clock:
        step, seconds, total, progress = 50, 2.0, 100, 0.5

    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    shown = Progress(interval=0.0)
    shown("ring-gan", Clock, 6400, {"critic": 0.7})
    shown.measured("ring-gan", health.in_words({"modes": 8, "modes_held": 7, "coverage": 0.5}))
    shown("ring-gan", Clock, 6400, {"critic": 0.7})
    first, second = stream.getvalue().splitlines()
    assert "modes" not in first
    assert second == f"{first}  modes 7/8"
    assert health.in_words({"coverage": 0.812}) == "coverage 0.81"
    assert health.in_words({"logit_gap": 1.0}) == ""
