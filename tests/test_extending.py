"""Parts of one's own: networks, objectives and penalties that a caller gives, or a plugin registers."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
from torch import Tensor, nn

import sparring
from sparring import NETWORKS, OBJECTIVES, PENALTIES, Penalty, Run, UsageError
from sparring.cli.main import main
from sparring.cli.settings import describe_settings
from sparring.training.recipe import FIXED, OPEN, Recipe
from sparring.training.settings import Changes, Settings

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
SMALL: dict[str, Any] = {"batch_size": 16, "progress": False}


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """They are as before after each test."""
    before = [(each, dict(each)) for each in (NETWORKS, OBJECTIVES, PENALTIES)]
    yield
    for registry, entries in before:
        registry.clear()
        registry.update(entries)  # type: ignore[arg-type]


def run_command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


class Generator(nn.Module):
    """Tied weights, batch normalisation and a frozen layer: what state dictionaries and optimisers stumble over."""

    def __init__(self, shape: tuple[int, ...], latent_dim: int = 8) -> None:
        super().__init__()
        self.first = nn.Linear(latent_dim, latent_dim)
        self.again = self.first
        self.norm = nn.BatchNorm1d(latent_dim)
        self.last = nn.Linear(latent_dim, torch.Size(shape).numel())
        self.last.bias.requires_grad_(False)
        self.shape = shape

    def forward(self, latents: Tensor) -> Tensor:
        return self.last(self.norm(self.again(self.first(latents).relu()))).tanh().unflatten(1, self.shape)


class Conditional(Generator):
    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return super().forward(latents + (labels if labels.ndim == 1 else labels.sum(1))[:, None])


class Judge(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = nn.Linear(torch.Size(shape).numel(), 1)

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(samples.flatten(1))


@dataclass(frozen=True)
class Drift(Penalty):
    name = "drift"
    weight: float = 0.001

    def __call__(self, discriminator: Any, real: Tensor, fake: Tensor, stream: Any) -> Tensor:
        drift: Tensor = self.weight * discriminator(real) ** 2
        return drift


MINE = replace(OBJECTIVES["hinge"], name="mine")


def own(shape: tuple[int, ...] = (1, 28, 28)) -> dict[str, Any]:
    torch.manual_seed(0)
    return {"generator": Generator(shape), "discriminator": Judge(shape)}


def files(run: Run) -> list[bytes]:
    names = ["generator/model.safetensors", "generator/config.json", "checkpoints/step-000006/state.safetensors"]
    return [(run.path / name).read_bytes() for name in names]


@pytest.mark.usefixtures("short_divergence")
def test_own_parts_have_all_that_named_ones_have(tmp_path: Path) -> None:
    given = own() | {"objective": MINE, "penalty": Drift(0.01, interval=2)}
    before = {name: value.clone() for name, value in given["generator"].state_dict().items()}
    settings: dict[str, Any] = {"evaluation_steps": 2, "sample_steps": 3, "checkpoint_steps": 3} | SMALL
    whole = sparring.train("digits", steps=6, out=tmp_path / "whole", **given, **settings)
    parts = sparring.train("digits", steps=3, out=tmp_path / "parts", **given, **settings)
    parts = sparring.resume(parts, steps=6, **given, progress=False)
    assert files(whole) == files(parts)
    assert "coverage" in whole.log()[-1]["evaluation"]
    assert all(torch.equal(before[name], value) for name, value in given["generator"].state_dict().items())

    recipe = json.loads((whole.path / "recipe.json").read_text())["recipe"]
    assert [recipe[name] for name in ("network", "objective", "penalty", "penalty_weight", "penalty_interval")] == [
        "custom: Generator", "custom: mine", "custom: drift", 0.01, 2,
    ]  # fmt: skip
    assert (recipe["latent_dim"], recipe["conditional"], recipe["num_clusters"]) == (8, False, 1)

    loaded = sparring.load(whole, module=given["generator"])
    assert loaded.sample(3).shape == (3, 28, 28)
    assert not torch.equal(loaded.module.state_dict()["first.weight"], before["first.weight"])
    assert "coverage" in sparring.evaluate(whole, n=100, module=given["generator"], progress=False).figures
    assert sparring.diagnose(whole).exists()


def test_a_run_with_own_parts_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = own() | {"objective": MINE, "penalty": Drift()}
    run = sparring.train("digits", steps=2, out=tmp_path / "run", **given, **SMALL)
    for missing, names in (
        ("network", ["generator", "discriminator"]),
        ("objective", ["objective"]),
        ("penalty", ["penalty"]),
    ):
        rest = {name: value for name, value in given.items() if name not in names}
        with pytest.raises(
            UsageError, match=f"the {missing} 'custom: .* was given in Python, so give it again: {names[0]}="
        ):
            sparring.resume(run, steps=4, **rest, progress=False)
    for command in (["resume"], ["sample", "--out", str(tmp_path / "a.png")], ["evaluate"]):
        assert run_command(*command, str(run.path)) == 2
        assert "module=... to load and evaluate" in capsys.readouterr().err
    with pytest.raises(UsageError, match="networks of your own"):
        sparring.train("digits", start_from=run, steps=1, out=tmp_path / "next", **SMALL)
    named = sparring.train("digits", steps=2, width=4, out=tmp_path / "named", **SMALL)
    with pytest.raises(UsageError, match="networks are 'conv'"):
        sparring.resume(named, steps=4, **own(), progress=False)
    other = Generator((1, 28, 28))
    with pytest.raises(UsageError, match="belongs to other networks"):
        sparring.resume(run, steps=4, **given | {"generator": nn.Sequential(other)}, progress=False)


def test_entries_of_registries_keep_their_names(tmp_path: Path) -> None:
    parts: dict[str, Any] = {"objective": OBJECTIVES["hinge"], "penalty": sparring.R1(0.5, interval=4)}
    recipe = sparring.train("ring", steps=1, width=4, out=tmp_path / "run", **parts, **SMALL).recipe()
    assert (recipe.objective, recipe.penalty, recipe.penalty_weight, recipe.penalty_interval) == ("hinge", "r1", 0.5, 4)


@pytest.mark.filterwarnings("ignore:.*items to train on")
def test_images_get_the_size_that_the_generator_makes(tmp_path: Path) -> None:
    for name, data in (("named", "digits"), ("files", tmp_path / "pictures")):
        if name == "files":
            generator = sparring.load(tmp_path / "named", module=own((1, 32, 32))["generator"])
            generator.modality.write(generator.sample(20), tmp_path / "pictures")
        run = sparring.train(data, steps=1, out=tmp_path / name, batch_size=8, **own((1, 32, 32)))
        assert run.recipe().size == (32, 32)


def test_labels_reach_modules_that_take_them(tmp_path: Path) -> None:
    players = {"generator": Conditional((1, 28, 28)), "discriminator": Judge((1, 28, 28))}
    run = sparring.train("digits", conditional=True, steps=2, out=tmp_path / "run", **players, **SMALL)
    assert sparring.load(run, module=players["generator"]).sample(2, labels=7).shape == (2, 28, 28)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"discriminator": None}, "give both"),
        ({"width": 8}, "width is for networks of the registry"),
        ({"discriminator": nn.Linear(28, 1)}, r"the discriminator makes \[2, 1, 28, 1\] of samples \[2, 1, 28, 28\]"),
        ({"latent_dim": -1}, "latent_dim=-1: must be greater"),
        ({"latent_dim": 7}, r"the generator does not take latents \[2, 7\]"),
        ({"conditional": True}, r"the generator does not take latents \[2, 8\] and labels \[2\]: TypeError"),
        ({"size": 64}, "try --size 28x28"),
        (
            {"generator": nn.Sequential(nn.Linear(8, 2))},
            r"makes items of \[2\], and those of the data are \[1, 28, 28\]",
        ),
        ({"generator": nn.Identity()}, "give latent_dim="),
        ({"penalty": type("Careless", (Penalty,), {"name": "careless", "weight": 5.0})()}, "no dataclass"),
        ({"objective": "custom: mine"}, "was given in Python"),
        ({"objective": "mein"}, "did you mean 'minimax'.*--plugin FILE.py registers your own"),
    ],
)
def test_parts_that_do_not_fit_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        sparring.train("digits", steps=1, out=tmp_path / "run", **own() | SMALL | settings)
    assert not (tmp_path / "run").exists()


def test_a_registered_family_without_labels_gets_none(tmp_path: Path) -> None:
    """Neither those of the data nor clusters in their place, with which the default recipe begins."""
    NETWORKS["plain"] = replace(
        NETWORKS["mlp"],
        name="another",  # the key counts
        generator=lambda shape, latent_dim, width, num_classes: Generator(shape, latent_dim),
        discriminator=lambda shape, width, normalization, num_classes: Judge(shape),
        takes_labels=False,
    )
    for name, conditional in (("a", None), ("b", False)):
        out = tmp_path / name
        recipe = sparring.train("digits", network="plain", conditional=conditional, steps=1, out=out, **SMALL).recipe()
        assert (recipe.network, recipe.conditional, recipe.num_clusters) == ("plain", False, 1)
        assert sparring.load(out).sample(2).shape == (2, 28, 28)
    for asked in ({"conditional": True}, {"num_clusters": 5}):
        with pytest.raises(UsageError, match="takes no labels"):
            sparring.train("digits", network="plain", steps=1, out=tmp_path / "c", **asked, **SMALL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no Python file"),
        ("import nothing_of_the_kind", "line 1: ModuleNotFoundError"),
        ("x = 1\nx +", "line 2: SyntaxError"),
        ("def f():\n    raise KeyError('k')\n\nf()", "line 2: KeyError: 'k'"),
    ],
)
def test_a_faulty_plugin_is_named(
    text: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "plugin.py"
    if text is not None:
        plugin.write_text(text)
    assert run_command("train", "ring", "--plugin", str(plugin), "--out", str(tmp_path / "run")) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_whose_plugin_is_missing_says_so(tmp_path: Path) -> None:
    NETWORKS["plain"], OBJECTIVES["mine"] = NETWORKS["mlp"], MINE
    run = sparring.train("ring", network="plain", objective="mine", steps=1, width=4, out=tmp_path / "run", **SMALL)
    del NETWORKS["plain"]
    for use in (sparring.load, sparring.evaluate, lambda run: sparring.resume(run, steps=2)):
        with pytest.raises(UsageError, match=r"unknown network 'plain'.*--plugin FILE\.py"):
            use(run)
    NETWORKS["plain"] = NETWORKS["mlp"]
    del OBJECTIVES["mine"]
    with pytest.raises(UsageError, match=r"unknown objective 'mine'.*--plugin FILE\.py"):
        sparring.resume(run, steps=2)


@pytest.mark.usefixtures("short_divergence")
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """From top to bottom: Python in one namespace, files as they are named, commands one after the other."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "page"}
    blocks = re.findall(r"```(python|sh)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert {language for language, _ in blocks} == {"python", "sh"}
    for language, text in blocks:
        if named := re.match(r"# (\w+\.py)\n", text):
            Path(named[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, str(PAGE), "exec"), namespace)
        else:
            for line in text.splitlines():
                assert run_command(*shlex.split(line)[1:]) == 0, capsys.readouterr().err
    assert namespace["images"].shape == (64, 32, 32)
    assert Path("points.png").exists()
    assert {path.name for path in Path("runs").iterdir()} == {"hinge", "drift", "mine", "tiny", "listened"}


def test_the_typed_settings_are_the_fields_of_recipe() -> None:
    typed, fields = get_type_hints(Settings, include_extras=True), get_type_hints(Recipe, include_extras=True)
    wider = {
        "objective": str | sparring.Objective,
        "penalty": str | Penalty,
        "size": int | fields["size"],
        "source": typed["source"],  # a name, a path or data in memory
        "start_from": typed["start_from"],  # a run or a path
    }
    expected = {name: kind | None if name in OPEN else kind for name, kind in fields.items()} | wider
    del expected["data"], expected["labels"]  # arguments of their own
    assert typed == expected
    assert get_type_hints(Changes).keys() == expected.keys() - set(FIXED)


@pytest.mark.slow
def test_a_type_checker_knows_the_settings(tmp_path: Path) -> None:
    right = 'import sparring\nsparring.train("ring", objective="hinge", steps=5, size=(32, 64))\n'
    wrong = (
        'sparring.train("ring", objectiv="hinge")\nsparring.train("ring", steps="5")\nsparring.resume("run", seed=3)\n'
    )
    (tmp_path / "snippet.py").write_text(right + wrong)
    (tmp_path / "mypy.ini").write_text("[mypy]\nfollow_imports = silent\n[mypy-torch.*]\nfollow_imports = skip\n")
    command = [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "snippet.py"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert [int(line) for line in re.findall(r"snippet\.py:(\d+): error", told)] == [3, 4, 5], told
    assert 'Unexpected keyword argument "objectiv"' in told


def test_help_lists_what_set_takes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    described = {each.name: each for each in describe_settings()}
    assert described.keys() == get_type_hints(Recipe).keys() - {"data"}
    assert all(each.meaning and each.values for each in described.values())
    assert (described["beta1"].values, described["beta1"].default) == ("R ≥ 0 < 1", "0.5")
    assert described["schedule"].values == "constant, linear, late, cosine"
    assert described["schedule"].meaning.startswith("How learning rates fall")
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command("train", "--help") == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in described)
    assert max(map(len, printed.partition("--set KEY=VALUE  ")[2].splitlines())) <= 80


def test_shells_complete_the_names_in_the_registries() -> None:
    """In a process of its own: the completion changes the options' types."""
    command = [sys.executable, "-m", "sparring", "--tyro-print-completion", "bash"]
    script = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(repr(name) in script for name in (*OBJECTIVES, *PENALTIES, *NETWORKS, *sparring.RECIPES))
