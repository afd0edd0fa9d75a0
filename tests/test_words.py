"""Words that people bring along from other libraries: they work, or the error names the word to
use.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
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
FRAME = pd.DataFrame(
    {
        "age": RANDOM.integers(18, 80, 400),
        "sex": ["f", "m"] * 200,
        "pay": RANDOM.normal(size=400).round(3),
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("words") / "digits"
    return pf.fit("flow", "digits", size="tiny", steps=20, out=out)


OPTIONS = {
    ("sample", "--num-samples"): "--n",
    ("sample", "--num-rows"): "--n",
    ("sample", "--guidance"): "--scale",
    ("sample", "--guidance-scale"): "--scale",
    ("sample", "--cfg"): "--scale",
    ("sample", "--num-inference-steps"): "--steps",
    ("sample", "--class"): "--label",
    ("sample", "--scheduler"): "--solver",
    ("train flow", "--metadata"): "--schema",
    ("train flow", "--batch-size"): "--batch",
    ("train flow", "--learning-rate"): "--lr",
    ("train flow", "--num-epochs"): "--epochs",
    ("train flow", "--dtype"): "--precision",
    ("train flow", "--seconds"): "--budget",
    ("train flow", "--gpus"): "--devices",
    ("train flow", "--stpes"): "--steps",
}


@pytest.mark.parametrize(("verb", "option"), OPTIONS)
def test_an_option_of_another_library_leads_to_ours(verb, option, capsys):
    assert main([*verb.split(), option, "1"]) == 2
    assert (
        f'Unknown option {option}. Did you mean "{OPTIONS[verb, option]}"?'
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["generate", "x"], 'Did you mean "sample"?'),
        (["fit", "x"], 'Did you mean "train"?'),
        (["eval", "x"], 'Did you mean "evaluate"?'),
        (["scheduler"], "pushforward list solvers"),
        (["from_pretrained", "x"], "by its folder"),
        (["sample", "x", "--checkpoint", "best"], "RUN@step_000500"),
        (["resume", "x", "--from", "step_000500"], "RUN@step_000500"),
        (["diffusion"], "pushforward train ddpm --help"),
        (["train", "wgan"], 'Did you mean "gan"?'),
        (["train", "tabddpm"], 'Did you mean "ddpm"?'),
        (["train", "rectified-flow"], 'Did you mean "flow"?'),
        (["train", "ldm"], "pushforward train ddpm --latent RUN"),
        (["train", "flow", "--epsilon", "1"], "Differential privacy"),
    ],
)
def test_a_word_of_another_library_leads_to_ours(words, says, capsys):
    assert main(words) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["init", "x"], ["sample", "x", "--prompt", "cat"], ["train", "flow", "--compile", "yes"]],
)
def test_no_name_is_suggested_rather_than_a_wrong_one(words, capsys):
    assert main(words) == 2
    assert "Did you mean" not in capsys.readouterr().err


def test_names_of_diffusers_and_papers_lead_to_ours(run):
    for call, says in {
        lambda: run.sample(4, guidance_scale=2): 'Did you mean "scale"',
        lambda: run.sample(num_samples=4): 'Did you mean "n"',
        lambda: run.sample(batch_size=4): 'Did you mean "n" or "batch"',
        lambda: run.sample(latents=torch.zeros(4, 2)): r"run\.transport",
        lambda: run.sample(4, solver="ddpm"): 'Did you mean "ancestral"',
        lambda: run.sample(4, class_labels=3): 'Did you mean "label"',
        lambda: run.sample(4, solver="DPMSolverMultistepScheduler"): 'Did you mean "dpm"',
        lambda: pf.Denoiser(
            torch.nn.Identity(), pf.VP(), "epsilon", run.space
        ): 'Did you mean "noise"',
        lambda: pf.Denoiser(
            torch.nn.Identity(), pf.VP(), "v_prediction", run.space
        ): 'Did you mean "v"',
        lambda: pf.fit("flow", "digits", callbacks=[]): "progress=",
        lambda: pf.fit("flow", "digits", lr_scheduler="cosine"): r"pf\.Schedule",
        lambda: pf.fit("ctgan", "digits"): 'Did you mean "gan"',
        lambda: pf.evaluate(run, metrics=["FID"]): 'Did you mean "frechet"',
    }.items():
        with pytest.raises(UsageError, match=says):
            call()
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
    words = [
        "train",
        "diffusion",
        "--data",
        "moons",
        "--size",
        "tiny",
        "--steps",
        "1",
        "--out",
        str(tmp_path / "b"),
    ]
    with pytest.warns(UserWarning, match='"diffusion" is called ddpm'):
        assert main(words) == 0
    assert pf.load(tmp_path / "b").spec["recipe"] == "ddpm"


class Pairs(Dataset):
    classes = ("cat", "dog", "bird")

    def __len__(self):
        return 60

    def __getitem__(self, i):
        return torch.from_numpy(IMAGES[i]).float() / 255, int(CLASSES[i])


class Pictures(Pairs):
    def __getitem__(self, i):
        return {"image": Image.fromarray(IMAGES[i].transpose(1, 2, 0)), "label": int(CLASSES[i])}


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Pairs()[i] for i in range(60))


@pytest.mark.parametrize(
    "source",
    [
        (IMAGES, CLASSES),
        (torch.from_numpy(IMAGES), torch.from_numpy(CLASSES)),
        Pairs(),
        Pictures(),
        Stream(),
        TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(CLASSES)),
        DataLoader(Pairs(), batch_size=7, shuffle=True),
        DataLoader(Stream(), batch_size=7),
        [Pairs()[i] for i in range(60)],
    ],
    ids=lambda source: type(source).__name__,
)
def test_data_sets_of_other_libraries_hold_the_same_examples(source):
    data = pf.data.dataset_of(source)
    expected = pf.data.from_arrays(torch.from_numpy(IMAGES), CLASSES)
    assert torch.equal(torch.as_tensor(data.train.x), torch.as_tensor(expected.train.x))
    assert data.train.labels.tolist() == expected.train.labels.tolist()
    assert data.examples_fingerprint == expected.examples_fingerprint


def test_a_loader_gives_the_examples_of_its_sampler_and_subsets_keep_their_names():
    data = pf.data.dataset_of(DataLoader(Pairs(), sampler=SubsetRandomSampler(range(40))))
    assert len(data.train) + len(data.held_out) == 40
    data = pf.data.dataset_of(DataLoader(Subset(Pairs(), range(50))))
    assert len(data.train) + len(data.held_out) == 50
    assert data.space.classes == Pairs.classes
    numbered = Pairs()
    numbered.classes = 3
    classes = pf.data.dataset_of(numbered).space.classes
    assert classes == ("0", "1", "2"), "a number does not name classes"


def test_the_batch_size_of_a_loader_is_used_unless_one_is_given(tmp_path):
    loader = DataLoader(TensorDataset(torch.randn(100, 2)), batch_size=16)
    options = {"size": "tiny", "steps": 1, "overwrite": True, "out": tmp_path / "run"}
    batch = pf.fit("flow", loader, **options).spec["training"]["batch"]
    assert batch == 16
    batch = pf.fit("flow", loader, batch=32, **options).spec["training"]["batch"]
    assert batch == 32


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


def test_fit_takes_budgets_in_words_and_passes_and_a_network(tmp_path):
    points = np.random.default_rng(1).normal(size=(600, 2)).astype(np.float32)
    data = pf.data.from_arrays(points)
    run = pf.fit(
        "flow",
        points,
        epochs=2,
        batch=64,
        size="tiny",
        out=tmp_path / "a",
        device="auto",
        progress=False,
    )
    assert run.spec["budget"]["samples"] == 2 * len(data.train)
    run = pf.fit("flow", points, budget="0.01m", network="mlp", size="tiny", out=tmp_path / "b")
    assert run.spec["budget"]["seconds"] == 0.6
    with pytest.warns(UserWarning, match="cannot be rebuilt"):
        run = pf.fit("flow", data, steps=1, network=Own(), out=tmp_path / "c")
    assert isinstance(run.denoiser.network, Own)
    model = pf.Report(pf.compare([run], data, n=30, repeats=1, curve=False)).comparison.models[0]
    assert model.extension.startswith(f'pf.resume("{run.folder}", data=data, steps=')
    narrow = Own()
    narrow.inner = torch.nn.Linear(3, 1)
    with pytest.raises(UsageError, match=r"shape \(\d+, 1\) for x of shape \(\d+, 2\)"):
        pf.fit("flow", data, steps=1, network=narrow, out=tmp_path / "narrow")
    options = ["--epochs", "0.5", "--size", "tiny", "--out", str(tmp_path / "d")]
    assert main(["train", "flow", "--data", "digits", *options]) == 0
    digits = pf.data.load("digits")
    samples = pf.load(tmp_path / "d").spec["budget"]["samples"]
    expected = -(-len(digits.train) // 2)
    assert samples == expected
    code = main(["resume", str(tmp_path / "d"), "--epochs", "1"])
    assert code == 0
    samples = pf.load(tmp_path / "d").spec["budget"]["samples"]
    assert samples == len(digits.train)
    with pytest.raises(UsageError, match="one budget"):
        pf.resume(tmp_path / "d", epochs=2, steps=5)


def test_a_frame_is_trained_on_and_evaluated_as_its_file_is(tmp_path):
    FRAME.to_csv(tmp_path / "people.csv", index=False)
    run = pf.fit("flow", FRAME, size="tiny", steps=2, out=tmp_path / "run")
    samples = run.sample(40, sex="f", seed=3)
    assert set(samples["sex"]) == {"f"}
    samples.to_csv(tmp_path / "new.csv", index=False)
    scores = [
        pf.evaluate(given, data, metrics=["pair_trends"]).models[0].scores
        for given, data in ((samples, FRAME), (tmp_path / "new.csv", tmp_path / "people.csv"))
    ]
    assert scores[0] == scores[1]
    with pytest.raises(DataError, match="columns age"):
        pf.evaluate(samples.drop(columns="age"), FRAME)


def test_a_run_is_sampled_saved_shown_plotted_and_evaluated(run, tmp_path, capsys):
    samples = run.sample(4, label=3, seed=5)
    expected = run.sample(4, {"label": 3}, seed=5)
    assert torch.equal(samples, expected)
    with pytest.warns(UserWarning, match="seed=5"):
        assert torch.equal(
            samples, run.sample(4, label=3, generator=torch.Generator().manual_seed(5))
        )
    samples.save(tmp_path / "x.npz")
    count = len(np.load(tmp_path / "x.npz")["x"])
    assert count == 4
    with pytest.raises(UsageError, match="already"):
        samples.save(tmp_path / "x.npz")
    figure = run.plot()
    (line,) = figure.axes[0].lines
    assert list(line.get_ydata()) == [row["loss"]["denoiser"] for row in run.losses()]
    actual = run.evaluate(n=20, repeats=1, metrics=["frechet"]).models[0].scores["frechet"].value
    assert actual > 0


def test_the_same_words_give_the_same_samples_in_python_and_in_the_shell(run, tmp_path):
    flow = run.transport
    assert flow.grid not in (None, flow.solver.grid)
    words = {
        "steps": ["--steps=3"],
        "solver": ["--steps=3", "--solver=dpm"],
        "heun": ["--steps=3", "--solver=heun"],
    }
    ours = {
        "steps": flow.with_steps(3),
        "solver": flow.with_solver("dpm", steps=3),
        "heun": flow.with_solver("heun", 3),
    }
    for name, options in words.items():
        out = tmp_path / f"{name}.npz"
        code = main(
            ["sample", str(run.folder), "--n", "4", *options, "--device", "cpu", "--out", str(out)]
        )
        assert code == 0
        shell = torch.from_numpy(np.load(out)["x"])
        actual = torch.as_tensor(run.space.quantise(ours[name].sample(4)))
        assert torch.equal(actual, shell), name
    assert flow.with_solver("dpm").steps == flow.steps


def test_a_box_has_names_and_is_echoed(run, tmp_path, capsys):
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "zero.png")
    words = ["inpaint", str(run.folder), str(tmp_path / "zero.png"), "--n", "1", "--steps", "2"]
    out = str(tmp_path / "filled.npz")
    for box in ("2,0,5,8", "left=0,right=8,top=2,bottom=5"):
        code = main([*words, "--json", "--box", box, "--out", out, "--overwrite"])
        assert code == 0
        printed, said = capsys.readouterr()
        assert '"filled": 24' in printed
        assert "rows 2 to 4 and columns 0 to 7" in said
    assert main([*words, "--box", "2,0,5"]) == 2
    assert "top,left,bottom,right" in capsys.readouterr().err
    for box in ("left=0,top=2,right=8", "left=0,top=2,right=8,bottom=5,left=1", "x=0,y=2,w=8,h=5"):
        assert main([*words, "--box", box]) == 2
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
