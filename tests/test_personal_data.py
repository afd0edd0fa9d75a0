"""Personal data in tables: columns that hold some are named, and texts of one row are not learned
unless they are asked for.
"""

import csv
import json
import random
import re
import shlex
import warnings
from functools import partial

import numpy as np
import pytest
from programs.text_tables import read_texts

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
WORDS = {
    "first": "Anna Emma Lena Sofia Maria John James Robert Michael Thomas Andreas Stefan Laura "
    "Julia Peter Sarah Olga Ivan Omar Jörg Zoë",
    "last": "Smith Müller Schneider Garcia Rossi Novak Larsson Nguyen Kowalski Weber Jones Patel "
    "Silva Öztürk Petersen Lee",
    "last_zh": "王 李 张 刘 陈",
    "first_zh": "伟 芳 娜 敏 静 丽 强 磊 军 洋",
    "last_ru": "Иванов Петрова Сидоров Козлова Попов",
    "first_ru": "Иван Анна Олег Ольга Сергей Мария",
    "syllable": "ba ke lo mi nu ra se ti vo zu",
    "word": "please call back later about the order which never came again today",
    "street": "Main Oak High",
    "house": "Oak Elm Hill Mill",
    "answer": "Yes No",
    "group": "a b c",
    "colour": "red green blue",
    "furniture": "chair table lamp shelf desk",
    "city": "Berlin Paris London Madrid Rome Vienna Oslo Dublin Lisbon Prague Bern Kiel",
    "branch": "Sales Health Food Office Farm",
    "work": "support service management",
    "people": "workers staff",
    "genus": "Acer Rosa Viola Salix Pinus Prunus",
    "species": "alba nigra major vulgaris montana rubra",
}
PERSONAL = """
names             | x              | {first} {last}
names             | x              | {last}, {first}
names             | x              | {first}
names             | Nachname       | {syllable}{syllable}
names             | customer_name  | {syllable}{syllable}
names             | x              | {last_zh}{first_zh}
names             | x              | {last_ru} {first_ru}
e-mail addresses  | x              | user{row}@example.org
telephone numbers | x              | +49 1## #######
telephone numbers | x              | (555) ###-####
telephone numbers | Handynr        | 4########
telephone numbers | tlf_mov        | 6## ### ###
account numbers   | x              | DE## #### #### #### #### ##
account numbers   | Kontonummer    | 4#######
addresses         | x              | {row} {street} Street
addresses         | x              | Am {syllable}weg {row}
addresses         | x              | {syllable}{syllable}{syllable}polku {row}A, 00246 Turku
addresses         | address_line_1 | {house} Cottage {0-49}
addresses         | PLZ            | 1####
addresses         | zip            | 1####.0
dates of birth    | x              | {1935-2005}-{10-12}-{10-28}
dates of birth    | Geburtsdatum   | {10-28}.{10-12}.{1990-2005}
dates of birth    | birthYear      | {1940-2005}
dates of birth    | fecha_nac      | {1940-2005}0{1-9}{10-28}
identifiers       | x              | ###-##-####
identifiers       | x              | CU-#####
identifiers       | cust_no        | K-{10000-10099}
identifiers       | customerId     | {1-90}
identifiers       | Numéro de sécurité sociale | 1 ## ## ## ### ### ##
identifiers       | Fallnr.        | 1####
identifiers       | cod_cli        | C{100-199}
identifiers       | GebrNaam       | {word}{1-99}
free text         | x              | {word} {word} {word} {word} {word} {word}
free text         | Bemerkung      | {word} {word} {word}
"""
OTHERS = """
age             | {18-90}
PhoneService    | {answer}
birth_weight    | 3###
account_balance | 4####
product_name    | {colour} {furniture}
city            | {city}
occupation      | {branch} {work} {people}
order_date      | 202{0-3}-{10-12}-{10-28}
price           | 4###.##
weight          | #.# kg
unix_time       | 16########
store_id        | {1-12}
colour          | {colour}
position        | 4#.####, 1#.####
version         | #.#.#
year_built      | {1890-2020}
scientific_name | {genus} {species}
sku             | SKU-#####
Bestellnr       | 4#######
transaction_id  | TX######
num_clientes    | 4###
last_login      | 202{0-3}-10-{10-28} 1{0-9}:{10-59}:00
"""


def blank_filled(match, row):
    """Draw the text for a blank: {row}, {LOWEST-HIGHEST}, or one of the words of a name."""
    name = match[1]
    if name == "row":
        return str(row)
    if name in WORDS:
        return R.choice(WORDS[name].split())
    low, high = map(int, name.split("-"))
    return str(R.randint(low, high))


def drawn(template):
    """Fill a template in for each row; # is a random digit."""
    cells = []
    for row in range(N):
        text = re.sub(r"\{(.*?)\}", partial(blank_filled, row=row), template)
        pieces = text.split("#")
        cell = pieces[0]
        for piece in pieces[1:]:
            cell += f"{R.randint(0, 9)}{piece}"
        cells.append(cell)
    return cells


def card_number(head):
    """Append the digit that makes the Luhn check sum fit."""
    total = 0
    for place, sign in enumerate(reversed(head)):
        digit = int(sign)
        if place % 2 == 0:
            digit = sum(divmod(2 * digit, 10))
        total += digit
    return f"{head}{-total % 10}"


def told(tmp_path, columns):
    """What `check` says each of the columns looks like, by name; their names must differ."""
    path = tmp_path / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    fields = check(path, table=True)["table"]["fields"]
    return {field["name"]: field["personal"] for field in fields}


@pytest.mark.parametrize(("what", "name", "template"), read_texts(PERSONAL))
def test_columns_of_personal_data_are_told_by_name_or_content(tmp_path, what, name, template):
    actual = told(tmp_path, {name: drawn(template), "group": drawn("{group}")})
    assert actual == {name: what, "group": ""}


def test_card_numbers_are_told_by_their_check_sum(tmp_path):
    numbers = [card_number(head) for head in drawn("412############")]
    actual = told(tmp_path, {"x": numbers, "group": drawn("{group}")})
    assert actual == {"x": "card numbers", "group": ""}


def test_other_columns_are_left_alone(tmp_path):
    columns = {name: drawn(template) for name, template in read_texts(OTHERS)}
    columns["depth"] = [str(row * 3 + R.randint(0, 2)) for row in range(N)]
    known = told(tmp_path, columns)
    assert known == dict.fromkeys(columns, "")


@pytest.mark.parametrize("n", [12, 200])
@pytest.mark.parametrize(
    ("what", "template"),
    [("names", "{first} {last}"), ("telephone numbers", "+49 1## #######")],
)
def test_content_alone_tells_columns_of_all_lengths(what, template, n):
    cells = drawn(template)[:n]
    texts = list(dict.fromkeys(cells))
    assert looks_like("x", texts, n, "category") == what


# --- rare texts ---


def write_rows(path, header, rows):
    path.write_text("\n".join([header, *rows]))
    return path


def people(path, n=400):
    """A table with a common text in most rows, and one of its own in each tenth row."""
    r = np.random.default_rng(1)
    common = ("none", "late", "paid twice")
    rows = []
    for row in range(n):
        note = f"secret {row}"
        if row % 10:
            note = common[r.integers(3)]
        age = r.integers(18, 90)
        rows.append(f"{age},{note}")
    return write_rows(path, "age,note", rows)


@pytest.fixture
def path(tmp_path):
    return people(tmp_path / "people.csv")


def notes_of(cells):
    return {note for _, note in cells if note.startswith("secret")}


def test_texts_of_one_row_are_counted_and_not_learned(path):
    with pytest.warns(UserWarning, match=r'"note" \(40 of 43 texts\)'):
        data = load(path)
    note = data.space.fields[1]
    assert note.names == ("late", "none", "paid twice")
    assert not notes_of(data.space.cells(data.train.x))
    assert "secret" not in json.dumps(note.shares)
    assert "secret" not in repr(data.space)
    learned = load(path, rare="keep")
    secrets = notes_of(learned.space.cells(learned.train.x))
    assert len(secrets) > 30
    with pytest.raises(UsageError, match="rare"):
        load(path, rare="perhaps")


def test_texts_for_rare_ones_are_drawn_by_seed(path):
    data = load(path)
    again = load(path)
    np.testing.assert_array_equal(again.train.x, data.train.x)
    other = load(path, seed=1)
    assert (other.train.x != data.train.x).any()
    assert other.fingerprint == data.fingerprint
    reloaded = load(**other.origin)
    np.testing.assert_array_equal(reloaded.train.x, other.train.x)


def test_a_column_of_mostly_such_texts_is_reported(tmp_path):
    rows = []
    for i in range(90):
        text = "none" if i % 3 == 0 else f"own {i}"
        rows.append(f"{i % 30},{text}")
    path = write_rows(tmp_path / "t.csv", "age,note", rows)
    with pytest.warns(UserWarning, match='"note".*`rare=keep`'):
        data = load(path)
    assert data.space.fields[1].names == ("none",)


def test_schemas_do_not_hold_such_texts(path, tmp_path):
    schema = tmp_path / "schema.json"
    check(path, write_schema=schema)
    assert "secret" not in schema.read_text()
    fingerprint = load(path, schema=schema).fingerprint
    assert fingerprint == load(path).fingerprint


def test_texts_that_a_schema_names_are_learned(path):
    names = ["late", "none", "paid twice"]
    names += [f"secret {row}" for row in range(0, 400, 10)]
    note = {"kind": "category", "names": names}
    data = load(path, schema={"columns": {"note": note}})
    assert len(data.space.fields[1].names) == 43


def test_levels_of_frames_do_not_hold_such_texts(path):
    pd = pytest.importorskip("pandas")
    frame = pd.read_csv(path, dtype={"note": "category"})
    frame["name"] = pd.Categorical(["a", "b"] * 200, ["a", "SECRETPATIENT", "b"])
    levels = load(frame).space.layout.levels
    assert levels[2] == ("a", "b"), "no row has the other level any more"
    for texts in levels:
        for text in texts:
            assert not text.startswith("secret")


def fit_tiny(data, out):
    return pf.fit("flow", data, out=out, size="tiny", steps=2, progress=False)


def test_a_run_does_not_hold_such_texts_and_says_why_one_is_unknown(path, tmp_path):
    run = fit_tiny(load(path), tmp_path / "run")
    for file in run.folder.rglob("*.json"):
        assert "secret" not in file.read_text(errors="replace"), file
    samples = run.transport.sample(300)
    assert not notes_of(run.space.cells(samples))
    pf.resume(run.folder, steps=3, progress=False)
    with pytest.raises(UsageError, match="40 texts of single rows"):
        run.sample(2, {"note": "secret 10"})


def test_a_run_that_kept_such_texts_refuses_data_without_them(path, tmp_path):
    kept = fit_tiny(load(path, rare="keep"), tmp_path / "kept")
    earlier = dict(kept.spec["data"])  # as earlier versions wrote it
    earlier.pop("rare", None)
    data = data_of_run(kept.folder, {**kept.spec, "data": earlier})
    assert data.fingerprint == kept.spec["fingerprint"]
    replaced = load(path)
    with pytest.raises(DataError, match='rare="keep"'):
        pf.resume(kept.folder, steps=4, data=replaced, progress=False)
    with pytest.raises(UsageError, match="rare=keep"):
        pf.compare({"kept": kept}, replaced, n=20)
    with pytest.raises(DataError, match="rare=keep"):
        pf.evaluate(kept, replaced, n=20)


@pytest.mark.parametrize(("rare", "counted"), [("replace", True), ("keep", False)])
def test_a_check_counts_such_texts(path, capsys, rare, counted):
    code = main(["data", "check", str(path), "--rare", rare])
    assert code == 0
    out = capsys.readouterr().out
    assert ("40 of 43 texts" in out) == counted


def test_cells_that_a_model_does_not_know_stay_when_others_are_imputed(path, tmp_path):
    run = fit_tiny(load(path), tmp_path / "run")
    gaps = write_rows(tmp_path / "gaps.csv", "age,note", [",secret 10", "40,", ",never seen"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = pf.impute(run, gaps).text().splitlines()
    assert lines[1].endswith(",secret 10")
    assert lines[3].endswith(",never seen")
    for line in lines[1:]:
        age, _ = line.split(",")
        assert age.isdigit()


# --- scores ---


def test_held_out_rows_keep_the_value_that_a_model_does_not_have(tmp_path):
    data = load(people(tmp_path / "people.csv", 1200))
    for split in (data.train, data.held_out):
        unknown = split.table_values[:, 1] == 3
        assert float(unknown.mean()) == pytest.approx(0.1, abs=0.06)
    rows = [",".join(cells) for cells in data.space.cells(data.train.x)]
    copied = write_rows(tmp_path / "copied.csv", "age,note", rows)
    scores = pf.evaluate(copied, data, metrics=["column_shapes", "unique_texts"], repeats=1)
    model = scores.models[0].scores
    real = scores.real_data_scores
    assert "unique_texts" not in model
    assert "unique_texts" not in real
    assert "unique_texts" in scores.unscored, "the texts that one row has are not known"
    assert model["column_error"].value > real["column_error"].value


def test_the_training_table_itself_has_a_tenth_of_unique_texts(tmp_path):
    path = people(tmp_path / "people.csv", 1200)
    found = pf.evaluate(path, path, metrics=["unique_texts"], repeats=1)
    unique = found.models[0].scores["unique_texts"]
    assert 0 < unique.value < 0.2


CITIES = ("Rome", "Oslo", "Bonn")


def write_cities(path, n, every, text):
    """Write rows of common cities; each ``every``-th row has a text of its own."""
    rows = []
    for i in range(n):
        city = CITIES[i % 3]
        if i % every == every - 1:
            city = f"{text} {i}"
        rows.append(f"{i % 40},{city}")
    write_rows(path, "age,city", rows)


@pytest.fixture
def cities(tmp_path):
    """A folder with a table in which each second row has a city of its own, and real rows."""
    write_cities(tmp_path / "train.csv", 200, 2, "only")
    write_cities(tmp_path / "real.csv", 60, 4, "new")
    return tmp_path


def test_samples_of_rare_texts_alone_are_all_counted(cities, capsys):
    rows = [f"{i % 40},only {2 * i + 1}" for i in range(60)]
    write_rows(cities / "leak.csv", "age,city", rows)
    command = (
        f"evaluate {cities}/real.csv {cities}/leak.csv --train {cities}/train.csv --json "
        "--metrics unique_texts"
    )
    assert main(shlex.split(command)) == 0
    model = json.loads(capsys.readouterr().out)["models"][0]
    assert model["scores"]["unique_texts"]["value"] == 1


def test_samples_of_unknown_texts_are_scored_and_reported(cities):
    write_cities(cities / "odd.csv", 60, 2, "odd")
    data = pf.data.real_data(cities / "real.csv")
    scores = pf.evaluate(cities / "odd.csv", data, metrics=["column_error"], repeats=1)
    found = scores.models[0]
    assert found.scores["column_error"].value > 0.2
    assert any('"city"' in warning for warning in found.warnings)


def test_samples_with_a_text_of_exactly_one_training_row_are_counted():
    training = np.array([[0, 0], [0, 0], [1, 1], [2, 1], [2, np.nan]])
    generated = np.array([[0, 0], [1, 0], [2, np.nan], [0, 1]])
    names = (("x", "y", "z"), ("u", "v"))
    kinds = ("category", "category")
    table = Table(generated, generated, ("a", "b"), kinds, names, training=training)
    points = np.zeros((4, 2), dtype=np.float32)
    samples = Samples(points, points, points, points, points, (2,), table=table)
    assert UniqueTexts()(samples)["unique_texts"].value == 0.25
