"""Personal data in tables: columns that hold some are named, and texts of one row are not learned
unless they are asked for.
"""

import csv
import json
import random
import warnings

import numpy as np
import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.data import check, load
from pushforward.errors import DataError, UsageError
from pushforward.metrics.score import Samples
from pushforward.tables.metrics.nearest_rows import UniqueTexts
from pushforward.tables.metrics.table import Table
from pushforward.tables.reading.personal import looks_like
from pushforward.training.runs.provenance import data_of_run

N = 200
R = random.Random(0)


def digits(pattern):
    """Texts in which each # is a digit by chance."""
    return [
        "".join(str(R.randint(0, 9)) if sign == "#" else sign for sign in pattern) for _ in range(N)
    ]


def joined(*parts, gap=" "):
    return [gap.join(R.choice(part.split()) for part in parts) for _ in range(N)]


def luhn(prefix):
    """Card numbers: the last digit is chosen so that the check sum fits."""
    texts = []
    for head in digits(prefix + "#" * 12):
        doubled = sum(sum(divmod(2 * int(sign), 10)) for sign in head[::-2])
        plain = sum(int(sign) for sign in head[-2::-2])
        texts.append(f"{head}{-(doubled + plain) % 10}")
    return texts


FIRST = (
    "Anna Emma Lena Sofia Maria John James Robert Michael Thomas Andreas Stefan Laura Julia "
    "Peter "
    "Sarah Olga Ivan Omar Jörg Zoë"
)
LAST = (
    "Smith Müller Schneider Garcia Rossi Novak Larsson Nguyen Kowalski Weber Jones Patel Silva "
    "Öztürk Petersen Lee"
)
SYLLABLES = "ba ke lo mi nu ra se ti vo zu"
WORDS = "please call back later about the order which never came again today"

PERSONAL = {
    "names": [
        ("x", joined(FIRST, LAST)),
        ("x", joined(LAST, FIRST, gap=", ")),
        ("x", joined(FIRST)),
        ("Nachname", joined(SYLLABLES, SYLLABLES, gap="")),
        ("customer_name", joined(SYLLABLES, SYLLABLES, gap="")),
        ("x", joined("王 李 张 刘 陈", "伟 芳 娜 敏 静 丽 强 磊 军 洋", gap="")),
        ("x", joined("Иванов Петрова Сидоров Козлова Попов", "Иван Анна Олег Ольга Сергей Мария")),
    ],
    "e-mail addresses": [("x", [f"user{i}@example.org" for i in range(N)])],
    "telephone numbers": [
        ("x", digits("+49 1## #######")),
        ("x", digits("(555) ###-####")),
        ("Handynr", digits("4########")),
        ("tlf_mov", digits("6## ### ###")),
    ],
    "card numbers": [("x", luhn("412"))],
    "account numbers": [
        ("x", digits("DE## #### #### #### #### ##")),
        ("Kontonummer", digits("4#######")),
    ],
    "addresses": [
        ("x", [f"{i + 1} {R.choice(['Main', 'Oak', 'High'])} Street" for i in range(N)]),
        ("x", [f"Am {R.choice(SYLLABLES.split())}weg {i}" for i in range(N)]),
        (
            "x",
            [
                f"{street}polku {i}A, 00246 Turku"
                for i, street in enumerate(joined(SYLLABLES, SYLLABLES, SYLLABLES, gap=""))
            ],
        ),
        (
            "address_line_1",
            [f"{name} Cottage {i % 50}" for i, name in enumerate(joined("Oak Elm Hill Mill"))],
        ),
        ("PLZ", digits("1####")),
        ("zip", digits("1####.0")),
    ],
    "dates of birth": [
        (
            "x",
            [f"{R.randint(1935, 2005)}-{R.randint(10, 12)}-{R.randint(10, 28)}" for _ in range(N)],
        ),
        (
            "Geburtsdatum",
            [f"{R.randint(10, 28)}.{R.randint(10, 12)}.{R.randint(1990, 2005)}" for _ in range(N)],
        ),
        ("birthYear", [str(R.randint(1940, 2005)) for _ in range(N)]),
        (
            "fecha_nac",
            [f"{R.randint(1940, 2005)}0{R.randint(1, 9)}{R.randint(10, 28)}" for _ in range(N)],
        ),
    ],
    "identifiers": [
        ("x", digits("###-##-####")),
        ("x", digits("CU-#####")),
        ("cust_no", [f"K-{R.randint(10_000, 10_099)}" for _ in range(N)]),
        ("customerId", [str(R.randint(1, 90)) for _ in range(N)]),
        ("Numéro de sécurité sociale", digits("1 ## ## ## ### ### ##")),
        ("Fallnr.", digits("1####")),
        ("cod_cli", [f"C{R.randint(100, 199)}" for _ in range(N)]),
        ("GebrNaam", [f"{name}{R.randint(1, 99)}" for name in joined(WORDS)]),
    ],
    "free text": [("x", joined(*[WORDS] * 6)), ("Bemerkung", joined(WORDS, WORDS, WORDS))],
}
OTHERS = [
    ("age", [str(R.randint(18, 90)) for _ in range(N)]),
    ("PhoneService", joined("Yes No")),
    ("birth_weight", digits("3###")),
    ("account_balance", digits("4####")),
    ("product_name", joined("red blue green dark", "chair table lamp shelf desk")),
    ("city", joined("Berlin Paris London Madrid Rome Vienna Oslo Dublin Lisbon Prague Bern Kiel")),
    (
        "occupation",
        joined("Sales Health Food Office Farm", "support service management", "workers staff"),
    ),
    (
        "order_date",
        [f"202{R.randint(0, 3)}-{R.randint(10, 12)}-{R.randint(10, 28)}" for _ in range(N)],
    ),
    ("price", digits("4###.##")),
    ("weight", [f"{text} kg" for text in digits("#.#")]),
    ("unix_time", digits("16########")),
    ("store_id", [str(R.randint(1, 12)) for _ in range(N)]),
    ("colour", joined("red green blue")),
    ("position", [f"{a}, {b}" for a, b in zip(digits("4#.####"), digits("1#.####"), strict=True)]),
    ("version", digits("#.#.#")),
    ("year_built", [str(R.randint(1890, 2020)) for _ in range(N)]),
    (
        "scientific_name",
        joined("Acer Rosa Viola Salix Pinus Prunus", "alba nigra major vulgaris montana rubra"),
    ),
    ("sku", digits("SKU-#####")),
    ("Bestellnr", digits("4#######")),
    ("transaction_id", digits("TX######")),
    ("num_clientes", digits("4###")),
    (
        "last_login",
        [
            f"202{R.randint(0, 3)}-10-{R.randint(10, 28)} 1{R.randint(0, 9)}:{R.randint(10, 59)}:00"
            for _ in range(N)
        ],
    ),
    ("depth", [str(i * 3 + R.randint(0, 2)) for i in range(N)]),
]


def told(tmp_path, columns):
    """What `check` says each of the columns looks like, by name; their names must differ."""
    path = tmp_path / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return {
        field["name"]: field["personal"] for field in check(path, table=True)["table"]["fields"]
    }, path


@pytest.mark.parametrize("what", PERSONAL)
def test_columns_of_personal_data_are_told_by_name_or_content(tmp_path, what):
    for name, cells in PERSONAL[what]:
        actual = told(tmp_path, {name: cells, "group": joined("a b c")})[0]
        assert actual == {name: what, "group": ""}


def test_other_columns_are_left_alone(tmp_path):
    known, _ = told(tmp_path, dict(OTHERS))
    assert {name: what for name, what in known.items() if what} == {}


def test_content_alone_tells_columns_of_all_lengths():
    for cells, what in (
        (PERSONAL["names"][0][1], "names"),
        (PERSONAL["telephone numbers"][0][1], "telephone numbers"),
    ):
        for n in (12, 200):
            actual = looks_like("x", list(dict.fromkeys(cells[:n])), n, "category")
            assert actual == what


# --- rare texts ---


def people(path, n=400):
    """A table with a common text in most rows, and one of its own in each tenth row."""
    r = np.random.default_rng(1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "note"])
        for row in range(n):
            if row % 10 == 0:
                note = f"secret {row}"
            else:
                note = ("none", "late", "paid twice")[r.integers(3)]
            writer.writerow([r.integers(18, 90), note])
    return path


def notes_of(cells):
    return {row[1] for row in cells if row[1].startswith("secret")}


def test_texts_of_one_row_are_counted_and_not_learned(tmp_path):
    path = people(tmp_path / "people.csv")
    with pytest.warns(UserWarning, match=r'"note" \(40 of 43 texts\)'):
        data = load(path)
    assert data.space.fields[1].names == ("late", "none", "paid twice")
    assert not notes_of(data.space.cells(data.train.x))
    assert "secret" not in json.dumps(data.space.fields[1].shares) + repr(data.space)
    again = load(path)
    other = load(path, seed=1)
    np.testing.assert_array_equal(again.train.x, data.train.x)
    assert (other.train.x != data.train.x).any(), "draws are by seed"
    assert other.fingerprint == data.fingerprint
    x = load(**other.origin).train.x.tolist()
    assert x == other.train.x.tolist()
    learned = load(path, rare="keep")
    count = len(notes_of(learned.space.cells(learned.train.x)))
    assert count > 30
    with pytest.raises(UsageError, match="rare"):
        load(path, rare="perhaps")


def test_a_column_of_mostly_such_texts_is_reported(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{i % 30},{f'own {i}' if i % 3 else 'none'}" for i in range(90)]
    path.write_text("\n".join(["age,note", *rows]))
    with pytest.warns(UserWarning, match='"note".*`rare=keep`'):
        data = load(path)
    assert data.space.fields[1].names == ("none",)


def test_schemas_and_frames_do_not_hold_such_texts(tmp_path):
    path = people(tmp_path / "people.csv")
    check(path, write_schema=tmp_path / "schema.json")
    assert "secret" not in (tmp_path / "schema.json").read_text()
    fingerprint = load(path, schema=tmp_path / "schema.json").fingerprint
    assert fingerprint == load(path).fingerprint
    names = ["late", "none", "paid twice", *(f"secret {row}" for row in range(0, 400, 10))]
    stated = load(path, schema={"columns": {"note": {"kind": "category", "names": names}}})
    assert len(stated.space.fields[1].names) == 43, "texts that a schema names are wanted"
    pd = pytest.importorskip("pandas")
    frame = pd.read_csv(path, dtype={"note": "category"})
    frame["name"] = pd.Categorical(["a", "b"] * 200, ["a", "SECRETPATIENT", "b"])
    data = load(frame)
    assert data.space.layout.levels[2] == ("a", "b"), "no row has the other level any more"
    assert not any(
        text.startswith("secret") for texts in data.space.layout.levels for text in texts
    )


def test_a_run_keeps_what_it_was_trained_with_and_says_why_a_text_is_unknown(tmp_path, capsys):
    path = people(tmp_path / "people.csv")
    fit = {"size": "tiny", "steps": 2, "progress": False}
    run = pf.fit("flow", load(path), out=tmp_path / "run", **fit)
    assert "secret" not in "".join(
        file.read_text(errors="replace") for file in run.folder.rglob("*.json")
    )
    assert not notes_of(run.space.cells(run.transport.sample(300)))
    pf.resume(run.folder, steps=3, progress=False)
    with pytest.raises(UsageError, match="Not learned: 40 texts that at most one training row has"):
        run.sample(2, {"note": "secret 10"})
    kept = pf.fit("flow", load(path, rare="keep"), out=tmp_path / "kept", **fit)
    earlier = {
        name: value for name, value in kept.spec["data"].items() if name != "rare"
    }  # as earlier versions wrote it
    fingerprint = data_of_run(kept.folder, {**kept.spec, "data": earlier}).fingerprint
    assert fingerprint == kept.spec["fingerprint"]
    with pytest.raises(DataError, match='rare="keep"'):
        pf.resume(kept.folder, steps=4, data=load(path), progress=False)
    with pytest.raises(UsageError, match="rare=keep"):
        pf.compare({"kept": kept}, load(path), n=20)
    with pytest.raises(DataError, match="rare=keep"):
        pf.evaluate(kept, load(path), n=20)
    for rare, told in (("replace", True), ("keep", False)):
        code = main(["data", "check", str(path), "--rare", rare])
        assert code == 0
        assert ("40 of 43 texts" in capsys.readouterr().out) == told


def test_cells_that_a_model_does_not_know_stay_when_others_are_imputed(tmp_path):
    path = people(tmp_path / "people.csv")
    run = pf.fit("flow", load(path), out=tmp_path / "run", size="tiny", steps=2, progress=False)
    gaps = tmp_path / "gaps.csv"
    gaps.write_text("age,note\n,secret 10\n40,\n,never seen\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = pf.impute(run, gaps).text().splitlines()
    assert lines[1].endswith(",secret 10")
    assert lines[3].endswith(",never seen")
    assert all(line.split(",")[0].isdigit() for line in lines[1:])


# --- scores ---


def test_held_out_rows_keep_the_value_that_a_model_does_not_have(tmp_path):
    data = load(people(tmp_path / "people.csv", 1200))
    shares = [
        float((split.table_values[:, 1] == 3).mean()) for split in (data.train, data.held_out)
    ]
    assert shares == pytest.approx([0.1, 0.1], abs=0.06)
    copied = data.space.cells(data.train.x)
    path = tmp_path / "copied.csv"
    path.write_text("\n".join(["age,note", *(f"{age},{note}" for age, note in copied)]))
    scores = pf.evaluate(path, data, metrics=["column_shapes", "unique_texts"], repeats=1)
    model = scores.models[0].scores
    real = scores.real_data_scores
    assert "unique_texts" not in {**model, **real}
    assert "unique_texts" in scores.unscored, "the texts that one row has are not known"
    assert model["column_error"].value > real["column_error"].value
    leaked = tmp_path / "people.csv"
    found = pf.evaluate(leaked, leaked, metrics=["unique_texts"], repeats=1)
    assert 0 < found.models[0].scores["unique_texts"].value < 0.2


def test_samples_of_rare_texts_alone_are_all_counted(tmp_path, capsys):
    def written(name, cities):
        lines = [f"{i % 40},{city}" for i, city in enumerate(cities)]
        (tmp_path / name).write_text("\n".join(["age,city", *lines]))

    common = ["Rome", "Oslo", "Bonn"]
    written("train.csv", [f"only {i}" if i % 2 else common[i % 3] for i in range(200)])
    written("real.csv", [f"new {i}" if i % 4 == 0 else common[i % 3] for i in range(60)])
    written("leak.csv", [f"only {2 * i + 1}" for i in range(60)])
    asked = [
        "evaluate",
        f"{tmp_path}/real.csv",
        f"{tmp_path}/leak.csv",
        "--train",
        f"{tmp_path}/train.csv",
        "--json",
    ]
    assert main([*asked, "--metrics", "unique_texts"]) == 0
    value = json.loads(capsys.readouterr().out)["models"][0]["scores"]["unique_texts"]["value"]
    assert value == 1
    written("odd.csv", [f"odd {i}" if i % 2 else common[i % 3] for i in range(60)])
    data = pf.data.real_data(tmp_path / "real.csv")
    found = pf.evaluate(tmp_path / "odd.csv", data, metrics=["column_error"], repeats=1).models[0]
    assert found.scores["column_error"].value > 0.2
    assert any('"city"' in warning for warning in found.warnings)


def test_samples_with_a_text_of_exactly_one_training_row_are_counted():
    training = np.array([[0, 0], [0, 0], [1, 1], [2, 1], [2, np.nan]], dtype=np.float64)
    generated = np.array([[0, 0], [1, 0], [2, np.nan], [0, 1]], dtype=np.float64)
    table = Table(
        generated,
        generated,
        ("a", "b"),
        ("category", "category"),
        (("x", "y", "z"), ("u", "v")),
        training=training,
    )
    points = np.zeros((4, 2), dtype=np.float32)
    samples = Samples(points, points, points, points, points, (2,), table=table)
    assert UniqueTexts()(samples)["unique_texts"].value == 0.25
