"""Words that people bring along from other libraries: they work, or the error names the word to
use.
"""

import math
import shlex
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from programs.text_tables import read_cases
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import DataError, UsageError, suggestion

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
CLASSES = np.arange(60) % 3
FRAME = pd.DataFrame({"age": RANDOM.integers(18, 80, 400)})
FRAME["sex"] = ["f", "m"] * 200
FRAME["pay"] = RANDOM.normal(size=400).round(3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("words") / "digits"
    return pf.fit("flow", "digits", size="tiny", steps=20, out=out)


def shell(command):
    return main(shlex.split(command))


OPTIONS = """
sample     | --num-samples         | --n
sample     | --num-rows            | --n
sample     | --guidance            | --scale
sample     | --guidance-scale      | --scale
sample     | --cfg                 | --scale
sample     | --num-inference-steps | --steps
sample     | --class               | --label
sample     | --scheduler           | --solver
train flow | --metadata            | --schema
train flow | --batch-size          | --batch
train flow | --learning-rate       | --lr
train flow | --num-epochs          | --epochs
train flow | --dtype               | --precision
train flow | --seconds             | --budget
train flow | --gpus                | --devices
train flow | --stpes               | --steps
"""


@pytest.mark.parametrize(("verb", "option", "ours"), read_cases(OPTIONS))
def test_an_option_of_another_library_leads_to_ours(verb, option, ours, capsys):
    assert shell(f"{verb} {option} 1") == 2
    expected = f'Unknown option {option}. Did you mean "{ours}"?'
    assert expected in capsys.readouterr().err


COMMANDS = """
generate x                     | Did you mean "sample"?
fit x                          | Did you mean "train"?
eval x                         | Did you mean "evaluate"?
scheduler                      | pushforward list solvers
from_pretrained x              | by its folder
sample x --checkpoint best     | RUN@step_000500
resume x --from step_000500    | RUN@step_000500
diffusion                      | pushforward train ddpm --help
train wgan                     | Did you mean "gan"?
train tabddpm                  | Did you mean "ddpm"?
train rectified-flow           | Did you mean "flow"?
train ldm                      | pushforward train ddpm --latent RUN
train flow --epsilon 1         | Differential privacy
"""


@pytest.mark.parametrize(("command", "says"), read_cases(COMMANDS))
def test_a_word_of_another_library_leads_to_ours(command, says, capsys):
    assert shell(command) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("command", ["init x", "sample x --prompt cat", "train flow --compile yes"])
def test_no_name_is_suggested_rather_than_a_wrong_one(command, capsys):
    assert shell(command) == 2
    assert "Did you mean" not in capsys.readouterr().err


def refused(says):
    return pytest.raises(UsageError, match=says)


def test_words_for_sampling_lead_to_ours(run):
    with refused('Did you mean "scale"'):
        run.sample(4, guidance_scale=2)
    with refused('Did you mean "n"'):
        run.sample(num_samples=4)
    with refused('Did you mean "n" or "batch"'):
        run.sample(batch_size=4)
    with refused(r"run\.transport"):
        run.sample(latents=torch.zeros(4, 2))
    with refused('Did you mean "ancestral"'):
        run.sample(4, solver="ddpm")
    with refused('Did you mean "dpm"'):
        run.sample(4, solver="DPMSolverMultistepScheduler")
    with refused('Did you mean "label"'):
        run.sample(4, class_labels=3)


def test_words_for_predictions_training_and_metrics_lead_to_ours(run):
    predicting = partial(pf.Denoiser, torch.nn.Identity(), pf.VP(), space=run.space)
    with refused('Did you mean "noise"'):
        predicting(prediction="epsilon")
    with refused('Did you mean "v"'):
        predicting(prediction="v_prediction")
    with refused("progress="):
        pf.fit("flow", "digits", callbacks=[])
    with refused(r"pf\.Schedule"):
        pf.fit("flow", "digits", lr_scheduler="cosine")
    with refused('Did you mean "gan"'):
        pf.fit("ctgan", "digits")
    with refused('Did you mean "frechet"'):
        pf.evaluate(run, metrics=["FID"])


def test_names_of_diffusers_lead_to_ours(run):
    for owner, name, says in (
        (pf, "from_pretrained", 'Did you mean "load"'),
        (pf, "DDPMPipeline", "from_diffusers"),
        (pf, "UNet2DModel", "DiffusersUNet"),
        (run, "save_pretrained", "pf.load"),
        (run, "generate", 'Did you mean "sample"'),
    ):
        with pytest.raises(AttributeError, match=says):
            getattr(owner, name)
    assert not hasattr(run, "unknown")
    assert suggestion("steps_", ["steps"]) == ' Did you mean "steps"?'


def test_a_transport_takes_conditions_by_name_as_a_run_does(run):
    named = run.transport.sample(4, label=1)
    expected = run.transport.sample(4, {"label": 1})
    assert torch.equal(named, expected)
    expected = torch.as_tensor(run.sample(4, label=1))
    assert torch.equal(named, expected)
    with pytest.raises(UsageError, match="lable"):
        run.transport.sample(4, lable=1)


def test_diffusion_trains_ddpm_and_says_so(tmp_path):
    with pytest.warns(UserWarning, match='"diffusion" is called ddpm'):
        run = pf.fit("diffusion", "moons", size="tiny", steps=1, out=tmp_path / "a")
    assert run.spec["recipe"] == "ddpm"
    command = f"train diffusion --data moons --size tiny --steps 1 --out {tmp_path}/b"
    with pytest.warns(UserWarning, match='"diffusion" is called ddpm'):
        assert shell(command) == 0
    assert pf.load(tmp_path / "b").spec["recipe"] == "ddpm"


TENSORS = (torch.from_numpy(IMAGES), torch.from_numpy(CLASSES))


class Pairs(Dataset):
    classes = ("cat", "dog", "bird")

    def __len__(self):
        return 60

    def __getitem__(self, i):
        image, label = (tensor[i] for tensor in TENSORS)
        return image.float() / 255, int(label)


class Pictures(Pairs):
    def __getitem__(self, i):
        pixels = IMAGES[i].transpose(1, 2, 0)
        return {"image": Image.fromarray(pixels), "label": int(CLASSES[i])}


class Stream(IterableDataset):
    def __iter__(self):
        pairs = Pairs()
        for i in range(60):
            yield pairs[i]


@pytest.mark.parametrize(
    "source",
    [
        (IMAGES, CLASSES),
        TENSORS,
        Pairs(),
        Pictures(),
        Stream(),
        TensorDataset(*TENSORS),
        DataLoader(Pairs(), batch_size=7, shuffle=True),
        DataLoader(Stream(), batch_size=7),
        list(Stream()),
    ],
)
def test_data_sets_of_other_libraries_hold_the_same_examples(source):
    data = pf.data.dataset_of(source)
    expected = pf.data.from_arrays(*TENSORS)
    np.testing.assert_array_equal(data.train.x, expected.train.x)
    assert data.train.labels.tolist() == expected.train.labels.tolist()
    assert data.examples_fingerprint == expected.examples_fingerprint


def test_a_loader_gives_the_examples_of_its_sampler_and_subsets_keep_their_names():
    pairs = Pairs()
    sampled = DataLoader(pairs, sampler=SubsetRandomSampler(range(40)))
    data = pf.data.dataset_of(sampled)
    assert len(data.train) + len(data.held_out) == 40
    subset = Subset(pairs, range(50))
    data = pf.data.dataset_of(DataLoader(subset))
    assert len(data.train) + len(data.held_out) == 50
    assert data.space.classes == Pairs.classes
    numbered = Pairs()
    numbered.classes = 3
    classes = pf.data.dataset_of(numbered).space.classes
    assert classes == ("0", "1", "2"), "a number does not name classes"


def test_the_batch_size_of_a_loader_is_used_unless_one_is_given(tmp_path):
    loader = DataLoader(TensorDataset(torch.randn(100, 2)), batch_size=16)
    options = {"size": "tiny", "steps": 1, "overwrite": True, "out": tmp_path / "run"}
    run = pf.fit("flow", loader, **options)
    assert run.spec["training"]["batch"] == 16
    run = pf.fit("flow", loader, batch=32, **options)
    assert run.spec["training"]["batch"] == 32


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ([], "no examples"),
        ([{"a": 1.0}, {"a": 2.0}], "image, img"),
        ([(torch.zeros(2), 1, 2)] * 3, r"\(data, class\)"),
    ],
)
def test_examples_that_are_refused(source, says):
    with pytest.raises(DataError, match=says):
        pf.data.dataset_of(source)


class Own(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(3, 2)

    def forward(self, x, t, condition):
        return self.inner(torch.cat([x, t[:, None]], 1))


def gaussian_points():
    return np.random.default_rng(1).normal(size=(600, 2)).astype(np.float32)


def test_fit_takes_budgets_in_words_and_passes(tmp_path):
    points = gaussian_points()
    options = {"epochs": 2, "batch": 64, "device": "auto", "progress": False}
    run = pf.fit("flow", points, size="tiny", out=tmp_path / "a", **options)
    data = pf.data.from_arrays(points)
    assert run.spec["budget"]["samples"] == 2 * len(data.train)
    run = pf.fit("flow", points, budget="0.01m", network="mlp", size="tiny", out=tmp_path / "b")
    assert run.spec["budget"]["seconds"] == 0.6


def test_fit_takes_a_network(tmp_path):
    data = pf.data.from_arrays(gaussian_points())
    with pytest.warns(UserWarning, match="cannot be rebuilt"):
        run = pf.fit("flow", data, steps=1, network=Own(), out=tmp_path / "c")
    assert isinstance(run.denoiser.network, Own)
    comparison = pf.compare([run], data, n=30, repeats=1, curve=False)
    model = pf.Report(comparison).comparison.models[0]
    assert model.extension.startswith(f'pf.resume("{run.folder}", data=data, steps=')
    narrow = Own()
    narrow.inner = torch.nn.Linear(3, 1)
    with pytest.raises(UsageError, match=r"shape \(\d+, 1\) for x of shape \(\d+, 2\)"):
        pf.fit("flow", data, steps=1, network=narrow, out=tmp_path / "narrow")


def test_the_shell_takes_half_a_pass(tmp_path):
    out = tmp_path / "run"
    examples = len(pf.data.load("digits").train)
    assert shell(f"train flow --data digits --epochs 0.5 --size tiny --out {out}") == 0
    budget = pf.load(out).spec["budget"]
    assert budget["samples"] == math.ceil(examples / 2)
    assert shell(f"resume {out} --epochs 1") == 0
    budget = pf.load(out).spec["budget"]
    assert budget["samples"] == examples
    with pytest.raises(UsageError, match="one budget"):
        pf.resume(out, epochs=2, steps=5)


def test_a_frame_is_trained_on_and_evaluated_as_its_file_is(tmp_path):
    run = pf.fit("flow", FRAME, size="tiny", steps=2, out=tmp_path / "run")
    samples = run.sample(40, sex="f", seed=3)
    assert set(samples["sex"]) == {"f"}
    people = tmp_path / "people.csv"
    new = tmp_path / "new.csv"
    FRAME.to_csv(people, index=False)
    samples.to_csv(new, index=False)
    of_frames = pf.evaluate(samples, FRAME, metrics=["pair_trends"])
    of_files = pf.evaluate(new, people, metrics=["pair_trends"])
    assert of_frames.models[0].scores == of_files.models[0].scores
    with pytest.raises(DataError, match="columns age"):
        pf.evaluate(samples.drop(columns="age"), FRAME)


def test_a_run_is_sampled_by_seed_or_generator_and_saved(run, tmp_path):
    samples = run.sample(4, label=3, seed=5)
    expected = run.sample(4, {"label": 3}, seed=5)
    assert torch.equal(samples, expected)
    generator = torch.Generator().manual_seed(5)
    with pytest.warns(UserWarning, match="seed=5"):
        by_generator = run.sample(4, label=3, generator=generator)
    assert torch.equal(samples, by_generator)
    file = tmp_path / "x.npz"
    samples.save(file)
    assert len(np.load(file)["x"]) == 4
    with pytest.raises(UsageError, match="already"):
        samples.save(file)


def test_a_run_is_plotted_and_evaluated(run):
    figure = run.plot()
    (line,) = figure.axes[0].lines
    losses = [row["loss"]["denoiser"] for row in run.losses()]
    assert list(line.get_ydata()) == losses
    comparison = run.evaluate(n=20, repeats=1, metrics=["frechet"])
    assert comparison.models[0].scores["frechet"].value > 0


def test_the_same_words_give_the_same_samples_in_python_and_in_the_shell(run, tmp_path):
    flow = run.transport
    assert flow.grid not in (None, flow.solver.grid)
    ours = {
        "--steps=3": flow.with_steps(3),
        "--steps=3 --solver=dpm": flow.with_solver("dpm", steps=3),
        "--steps=3 --solver=heun": flow.with_solver("heun", 3),
    }
    out = tmp_path / "x.npz"
    for options, transport in ours.items():
        command = f"sample {run.folder} --n 4 {options} --device cpu --out {out} --overwrite"
        assert shell(command) == 0
        actual = run.space.quantise(transport.sample(4))
        np.testing.assert_array_equal(actual, np.load(out)["x"], err_msg=options)
    assert flow.with_solver("dpm").steps == flow.steps


def test_a_box_has_names_and_is_echoed(run, tmp_path, capsys):
    picture = tmp_path / "zero.png"
    out = tmp_path / "filled.npz"
    pixels = np.zeros((8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(picture)
    inpaint = f"inpaint {run.folder} {picture} --n 1 --steps 2"
    for box in ("2,0,5,8", "left=0,right=8,top=2,bottom=5"):
        assert shell(f"{inpaint} --json --box {box} --out {out} --overwrite") == 0
        printed, said = capsys.readouterr()
        assert '"filled": 24' in printed
        assert "rows 2 to 4 and columns 0 to 7" in said
    assert shell(f"{inpaint} --box 2,0,5") == 2
    assert "top,left,bottom,right" in capsys.readouterr().err
    for box in ("left=0,top=2,right=8", "left=0,top=2,right=8,bottom=5,left=1", "x=0,y=2,w=8,h=5"):
        assert shell(f"{inpaint} --box {box}") == 2
        assert "each side once" in capsys.readouterr().err


class Rows:
    """What Hugging Face's data sets of plain values look like."""

    def __len__(self):
        return len(FRAME)

    def __getitem__(self, i):
        return FRAME.iloc[i].to_dict()

    def to_pandas(self):
        return FRAME


def test_rows_of_plain_values_are_a_table():
    fingerprint = pf.data.dataset_of(Rows()).fingerprint
    assert fingerprint == pf.data.load(FRAME).fingerprint
