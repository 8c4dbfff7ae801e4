"""Tables: what columns are taken for, what is exact, what is refused, and rows by conditions."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from untrained import make_generator, make_table

import sparring
from sparring.data.columns import Column, choose_knots
from sparring.data.frames import to_items
from sparring.data.people import make_people
from sparring.errors import DataError, SparringError, UnknownNameError, UsageError
from sparring.evaluation.card import estimate
from sparring.evaluation.figures import FIGURES, Comparison, draw
from sparring.files import parse_json
from sparring.generator.config import Config
from sparring.modalities import SOURCES, Modality, Survey, look_at, open_dataset
from sparring.modalities.tables import Tables
from sparring.networks.heads import Heads
from sparring.seeding import Stream
from sparring.web.report import diagnose

N = 300
OWN = [name for name, figure in FIGURES.items() if figure.needs == "rows"]


def write(path: Path, text: str, encoding: str = "utf-8") -> str:
    path.write_bytes(text.encode(encoding))
    return str(path)


def rows(*columns: str, n: int = N, separator: str = ",") -> str:
    """A table with a line for each number from 0: `{i}` in a column's text is that number, after `NAME=`."""
    names, cells = zip(*(column.split("=", 1) for column in columns), strict=True)
    lines = [separator.join(names), *(separator.join(cells).format(i=i, m=i % 7, s="ab"[i % 2]) for i in range(n))]
    return "\n".join(lines) + "\n"


def columns_of(path: str, **reading: str) -> dict[str, Column]:
    modality = open_dataset(path, **reading).modality
    assert isinstance(modality, Tables)
    return {column.name: column for column in modality.columns}


def test_each_column_is_taken_for_what_it_is(tmp_path: Path) -> None:
    frame = make_people(1000)
    frame["note"] = [f"a long story about the person of number {i} in so many words" for i in range(1000)]
    frame["code"] = [f"X{i:05d}" for i in range(1000)]
    frame["zip"] = [f"0{i % 50:03d}" for i in range(1000)]
    frame.to_csv(tmp_path / "people.csv", index=False)
    found = columns_of(str(tmp_path / "people.csv"))
    assert {name: column.kind for name, column in found.items()} == {
        "person": "identifier", "age": "number", "sex": "category", "school": "category", "income": "number",
        "rent": "number", "owns_home": "boolean", "married": "boolean", "height": "number", "town": "category",
        "moved": "date", "country": "constant", "note": "text", "code": "identifier", "zip": "category",
    }  # fmt: skip
    assert found["income"].values == (0.0,)  # a spike
    assert found["income"].decimals == 2
    assert None in found["married"].values
    assert found["zip"].values[0] in {f"0{i:03d}" for i in range(50)}  # as it is written
    survey = look_at(str(tmp_path / "people.csv"))
    assert isinstance(survey, Survey)
    assert "  note: free text: left out" in survey.description
    assert "  person: an identifier: made anew, never learnt" in survey.description


def test_rows_come_back_exactly(tmp_path: Path) -> None:
    """By way of samples and of files: kinds, decimals, missing values, and how dates are written."""
    frame = make_people(500).drop(columns="person")
    frame["when"] = frame["moved"].dt.strftime("%d.%m.%Y")
    frame.to_csv(tmp_path / "people.csv", index=False)
    given = pd.read_csv(tmp_path / "people.csv", dtype=str)
    modality = open_dataset(str(tmp_path / "people.csv")).modality
    assert isinstance(modality, Tables)
    items = modality.decode(modality.encode(to_items(given, modality.columns, "people")))
    modality.write(items, tmp_path / "again.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "again.csv", dtype=str)[["age", "sex", "when", "town"]],
                                  given[["age", "sex", "when", "town"]])  # fmt: skip
    modality.write(items, tmp_path / "again.parquet")
    again = pd.read_parquet(tmp_path / "again.parquet")
    assert list(again.columns) == list(frame.columns)
    for name in ("age", "rent", "income", "height"):
        assert np.array_equal(again[name], frame[name]), name
    assert again["married"].isna().equals(frame["married"].isna())
    assert np.array_equal(modality.read_file(tmp_path / "again.parquet"), items)
    told = json.loads(modality.to_bytes(items[:2], ".json"))["tables"]
    assert told[0]["sex"] == frame["sex"][0]
    assert [*told[0]] == list(frame.columns)


def test_a_steps_place_is_drawn_within_its_share() -> None:
    """Values that many rows share are spread over the scale; others stay; whatever is drawn decodes to the value."""
    modality = SOURCES["people"].open().modality
    assert isinstance(modality, Tables)
    samples = open_dataset("people").train.batch(64, Stream(0, "data"))
    spread = modality.spread(samples, Stream(0, "spread"))
    assert not torch.equal(spread, samples)
    assert np.array_equal(modality.decode(spread)["age"], modality.decode(samples)["age"])
    halves = [
        modality.spread(samples[32 * rank : 32 * rank + 32], Stream(0, "spread").for_rank(rank, 2)) for rank in (0, 1)
    ]
    assert torch.equal(torch.cat(halves), spread)  # two processes draw what one does
    values = np.arange(100.0)
    knots = np.array(choose_knots(values, np.full(100, 10)))
    assert np.allclose(knots[:, 2] - knots[:, 1], 0.01)
    places = torch.special.ndtri(torch.rand(4000, 1, generator=torch.Generator().manual_seed(0)))
    drawn = Column("a", "number", knots=tuple(map(tuple, knots.tolist())), decimals=0).decode(places.numpy())
    assert len(np.unique(drawn)) == 100  # each as often: a normal place gives the column's own distribution
    assert np.bincount(drawn).std() < 12


def test_what_others_determine_is_computed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    month, a, b = random.integers(1, 13, N), random.integers(0, 50, N), random.integers(0, 900, N) / 10
    season = np.array(["winter", "spring", "summer", "autumn"])[month % 12 // 3]
    frame = pd.DataFrame({"month": month, "a": a, "b": b, "sum": a + b, "season": season, "log": np.log(a + 1)})
    frame.to_csv(tmp_path / "table.csv", index=False)
    found = columns_of(str(tmp_path / "table.csv"))
    assert {name: column.sources for name, column in found.items() if column.sources} == {
        "sum": ("a", "b"), "season": ("month",), "log": ("a",),
    }  # fmt: skip
    modality = open_dataset(str(tmp_path / "table.csv")).modality
    made = modality.decode(Stream(0, "samples").normal(500, *modality.item_shape))
    assert np.allclose(made["a"] + made["b"], made["sum"], atol=1e-9)
    assert np.allclose(np.log(made["a"] + 1), made["log"], atol=1e-6)
    assert {(each["month"] % 12 // 3, each["season"]) for each in made} <= {*zip(month % 12 // 3, season, strict=True)}
    settings = write(tmp_path / "columns.toml", '[season]\nkind = "category"\n')
    assert not columns_of(str(tmp_path / "table.csv"), columns=settings)["season"].sources


def test_corrections_are_followed_or_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows("size={s}", "age={i}.5", "year=20{m}1", "more={m}{i}"))
    settings = tmp_path / "columns.toml"
    write(
        settings,
        '[size]\norder = ["b", "a"]\n[year]\nkind = "category"\n[age]\nbounds = [10, 20]\n[more]\nkind = "text"',
    )
    found = columns_of(path, columns=str(settings))
    assert (found["size"].values, found["year"].kind, found["more"].kind) == (("b", "a"), "category", "text")
    assert 10 <= found["age"].decode(np.array([[-3.0], [3.0]])).min() <= 20
    for text, error, message in (
        ("[ages]\n", UnknownNameError, "ages"),
        ('[age]\nkind = "integer"\n', UnknownNameError, "integer"),
        ("[age]\nlow = 1\n", UsageError, "'low' is no setting of a column"),
        ("[age]\nbounds = 3\n", UsageError, "bounds must be two numbers"),
        ('[size]\norder = ["a"]\n', UsageError, "lacks 'b'"),
        ("[age\n", UsageError, "cannot read"),
        ('[size]\nkind = "date"\n', DataError, "no dates that are all written alike"),
        ('[age]\nkind = "boolean"\n', DataError, "other values than true and false"),
    ):
        write(settings, text)
        with pytest.raises(error, match=message):
            columns_of(path, columns=str(settings))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (rows("a={i}", "b={m}").split("\n", 1)[1], "holds values such as '0'"),
        (rows("a={i}", "a={m}"), "several columns called 'a'"),
        (rows("a={m}"), "1 columns to learn from"),
        (rows("id={i}", "key=K{i}x"), "0 columns to learn from: 'id'|has 0 columns"),
        (rows("a={m}", "b={i}").replace("\n0,0\n", "\n0,?\n"), r"mixes numbers and text.*such as '\?' in row 1"),
        (rows("a={m}", "b={i}.5").replace("\n0,0.5\n", "\n0,inf\n"), "no finite number"),
        (rows("a={m}", "b={m}") + "1,2,3\n", "cannot read|line"),
        (rows("a={m}", "b=x{m}", n=1), "a training needs|columns to learn"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(write(tmp_path / "bad.csv", text))


def test_a_column_of_too_many_categories_is_told(tmp_path: Path) -> None:
    text = rows("a={m}", "b=w{i}", n=4000) + rows("a={m}", "b=w{i}", n=4000).split("\n", 1)[1]
    with pytest.raises(DataError, match=r"4,000 different texts.*identifier or text"):
        open_dataset(write(tmp_path / "many.csv", text))


def test_fifty_rows_ask_for_a_smaller_batch(tmp_path: Path) -> None:
    path = write(tmp_path / "few.csv", rows("a={m}", "b={i}.5", "c={s}", n=50))
    with pytest.raises(UsageError, match="lower --batch-size"):
        sparring.train(path, steps=1, out=tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("encoding", "separator"), [("utf-8", ";"), ("utf-8-sig", ","), ("utf-16", "\t"), ("cp1252", "|")]
)
def test_other_encodings_and_separators_are_read(tmp_path: Path, encoding: str, separator: str) -> None:
    path = write(tmp_path / "a.csv", rows("größe={i}.5", "stadt=Köln {s}", separator=separator), encoding)
    found = columns_of(path)
    assert {name: column.kind for name, column in found.items()} == {"größe": "number", "stadt": "category"}
    assert set(found["stadt"].values) == {"Köln a", "Köln b"}


def test_decimal_commas_are_numbers(tmp_path: Path) -> None:
    found = columns_of(write(tmp_path / "a.csv", rows("a={i},5", "b={s}", separator=";")))
    assert (found["a"].kind, found["a"].decimals, found["a"].limits) == ("number", 1, (0.5, N - 0.5))


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather"])
def test_files_and_frames_train_and_sample(tmp_path: Path, ending: str) -> None:
    frame, path = make_people(200).drop(columns="moved"), tmp_path / f"people.{ending}"
    getattr(frame, f"to_{ending}")(path, **({} if ending == "feather" else {"index": False}))
    data = path if ending == "csv" else frame if ending == "feather" else str(path)
    run = sparring.train(data, steps=3, width=8, batch_size=16, out=tmp_path / "run", progress=False)
    generator = sparring.load(run.path)
    made = generator.modality.to_frame(generator.sample(20, seed=3))
    assert list(made.columns) == list(frame.columns)
    assert made["person"].tolist() == list(range(1, 21))
    assert set(made["town"]) <= set(frame["town"])
    assert (generator.sample(20)[:5] == generator.sample(5)).all()


def test_rows_that_meet_conditions(tmp_path: Path) -> None:
    run = sparring.train("people", steps=2, width=8, batch_size=16, out=tmp_path / "run", progress=False)
    generator = sparring.load(run.path)
    made = generator.sample(5, seed=1, where="sex=female, age>=30,income!=0")
    assert set(made["sex"]) == {"female"}
    assert made["age"].min() >= 30
    assert (generator.sample(3, seed=1, where="sex=female, age>=30,income!=0") == made[:3]).all()
    assert (generator.sample(4, where="married=")["married"] == "").all()
    first = generator.sample(50)["moved"].min()
    assert (generator.sample(4, where=f"moved>{first}")["moved"] > first).all()
    for where, message in {
        "age>200": "of 20,000 items that this generator made, 0 have age>200",
        "ages>2": "ages",
        "sex=woman": "woman",
        "sex>f": "has no order",
        "age=old": "compared with a number",
        "adult": "no condition",
    }.items():
        with pytest.raises(SparringError, match=message):
            generator.sample(2, where=where)


def test_every_choice_can_be_asked_for() -> None:
    """Each value that is listed is that of some row, and all rows but those without a value lie between the limits."""
    dataset = open_dataset("people")
    modality = dataset.modality
    items = modality.decode(dataset.train.items)
    assert {each["name"] for each in modality.choices} == {*items.dtype.names}
    for each in modality.choices:
        name = each["name"]
        for value in each.get("values", ()):
            assert modality.choose(items, f'{name}="{value}"').any(), (name, value)
        if "low" in each:
            is_missing = modality.choose(items, f"{name}=")
            assert (modality.choose(items, f"{name}>={each['low']},{name}<={each['high']}") != is_missing).all(), name


def test_a_run_is_measured_told_and_exported(tmp_path: Path) -> None:
    """The card's own figures, the report, and a graph whose samples decode as the generator's do."""
    import onnxruntime

    run = sparring.train("people", steps=3, width=8, batch_size=64, out=tmp_path / "run", progress=False)
    card = sparring.evaluate(run.path, n=300)
    own = {*OWN}
    assert own - {"rule_breaks", "lost_lesson"} <= card.figures.keys()
    assert card.figures["column_distance"].generated.value > 0.2
    assert card.figures["detector_auc"].generated.value > 0.9  # after three steps
    floors = {name: card.figures[name].floor for name in own & card.figures.keys()}
    assert [name for name, floor in floors.items() if floor is None] == ["lost_lesson"] * ("lost_lesson" in floors)
    assert "school" in diagnose(run.path).read_text()
    generator = sparring.load(run.path)
    generator.export(tmp_path / "rows.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "rows.onnx"))
    (samples,) = session.run(["samples"], {"latents": generator.latents(40, seed=3).numpy()})
    config = json.loads(session.get_modelmeta().custom_metadata_map["config"])
    modality = parse_json(json.dumps(config["modality"]).encode(), Modality, "config")
    assert isinstance(modality, Tables)
    made, expected = modality.decode(torch.from_numpy(samples)), generator.sample(40, seed=3)
    assert (made["town"] == expected["town"]).mean() > 0.9
    assert np.median(np.abs(made["age"] - expected["age"])) == 0


def test_held_out_rows_are_what_a_perfect_generator_would_make() -> None:
    """In the card's last column: each figure but the lesson, which half as many rows cannot teach."""
    dataset, seed = open_dataset("people"), 0
    train, heldout = (draw(part, 2700, Stream(seed, "rows")) for part in (dataset.train, dataset.heldout))
    halves = [{"samples": heldout["samples"][start::2]} for start in (0, 1)]
    whole = estimate(Comparison(dataset, train, heldout, {}, seed), OWN)
    parts = estimate(Comparison(dataset, train, *halves, seed), OWN)
    assert whole.keys() == {"column_distance", "pair_distance", "categories_kept"}
    assert parts.keys() == whole.keys() | {"detector_auc", "nearest_record_ratio", "membership_advantage"}
    assert whole["column_distance"].value < parts["column_distance"].value  # chance makes more of fewer rows
    assert whole["column_distance"].value < 0.1
    assert whole["categories_kept"].value == 1.0
    for name, perfect in (("detector_auc", 0.5), ("nearest_record_ratio", 1.0), ("membership_advantage", 0.0)):
        assert parts[name].low < perfect < parts[name].high  # red by chance for 5 % of seeds; this one is fixed
    assert {"lost_lesson"} | parts.keys() == estimate(Comparison(dataset, train, train, heldout, seed), OWN).keys()


def test_a_graph_is_decoded_by_numpy_alone(tmp_path: Path) -> None:
    """By the code in docs/tables.md and the JSON in the file: every kind of column, and what others determine."""
    import onnxruntime

    modality, items = make_table()
    generator = make_generator(Config(modality, "mlp", 6, "gaussian", 16))
    generator.export(tmp_path / "rows.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "rows.onnx"))
    (samples,) = session.run(["samples"], {"latents": generator.latents(300, seed=3).numpy()})
    columns = json.loads(session.get_modelmeta().custom_metadata_map["config"])["modality"]["columns"]
    page = (Path(__file__).parent.parent / "docs" / "tables.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import json\n.*?def decode_rows.*?)```", page, re.DOTALL)
    given: dict[str, Any] = {}
    exec(code, given)
    for encoded, wanted in ((samples, generator.sample(300, seed=3)), (modality.encode(items).numpy(), items)):
        cells = given["decode_rows"](encoded, columns)
        assert {*cells} == {*wanted.dtype.names}
        for column in modality.columns:
            if column.name in cells:
                found, expected = cells[column.name].tolist(), column.to_values(wanted[column.name])
                if column.kind == "number":
                    numbers = np.array([found, expected], float)
                    assert np.isclose(*numbers, rtol=1e-6, equal_nan=True).mean() > 0.99, column.name
                else:
                    assert np.mean([a == b for a, b in zip(found, expected, strict=True)]) > 0.99, column.name


def test_resuming_gives_the_same_weights(tmp_path: Path) -> None:
    make_people(200).to_csv(tmp_path / "people.csv", index=False)
    settings: dict[str, Any] = {"width": 8, "batch_size": 32, "progress": False, "evaluation_share": 0.0}
    settings |= {"schedule": "constant", "penalty_final": 1.0}
    whole = sparring.train(tmp_path / "people.csv", steps=6, out=tmp_path / "whole", **settings)
    part = sparring.train(tmp_path / "people.csv", steps=2, out=tmp_path / "part", **settings)
    sparring.resume(part.path, steps=6, exact=True, progress=False)
    files = [(run.path / "generator/model.safetensors").read_bytes() for run in (whole, part)]
    assert files[0] == files[1]


def test_gradients_pass_a_choice_as_they_pass_softmax() -> None:
    heads, scores = Heads(3, [(0, 3)]), torch.tensor([[0.1, 0.7, 0.2]], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 5.0])
    chosen = heads(scores)
    assert torch.allclose(chosen, torch.tensor([[0.0, 1.0, 0.0]]))
    (own,) = torch.autograd.grad((chosen * weights).sum(), scores)
    (soft,) = torch.autograd.grad((scores.softmax(1) * weights).sum(), scores)
    assert torch.allclose(own, soft)
    assert heads(torch.tensor([[0.2, 0.7, 0.7]])).tolist() == [[0.0, 1.0, 0.0]]  # as bfloat16 often has them
