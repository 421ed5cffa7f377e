"""Bad input: one clear sentence and exit code 2, before any training, never a traceback."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import ppvae
from ppvae import Dataset, Modality, cli

SMALL = ["--latent", "2", "--set", "hidden=[8]", "--backend", "pyro"]
WEIGHTS, RUN = "weights.safetensors", "run.json"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data file and a run on it."""
    place = tmp_path_factory.mktemp("bad")
    rng = np.random.default_rng(0)
    np.savez(
        place / "data.npz", a=rng.normal(size=(40, 3)), b=rng.negative_binomial(1, 0.02, size=(40, 2)).astype(float)
    )
    words = ["fit", "mvae", "--data", str(place / "data.npz"), "--epochs", "2", *SMALL, "--out", str(place / "run")]
    assert cli.main(words) == 0
    return place


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a command that must be refused; returns its sentence."""
    monkeypatch.chdir(folder)

    def run(*words: str | Path, trained: bool = False) -> str:
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert re.fullmatch(r"Error: \S.*\n", err)
        return err

    return run


def test_a_run_that_does_not_know_its_data_asks_for_them(refused: Any, folder: Path) -> None:
    replace(ppvae.load(folder / "run"), notes={}).save(folder / "nameless")
    for words in (["diagnose", "nameless"], ["query", "nameless", "--out", "q.npz"]):
        assert "does not say what it was trained on: add --data NAME or file.npz" in refused(*words)


def fit(*words: str | Path) -> list[str | Path]:
    """A quick fit that leaves nothing behind where it is refused."""
    return ["fit", "mvae", "--data", "data.npz", "--epochs", "1", *SMALL, "--out", "never", *words]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["fit", "nope"], "unknown method 'nope'; choose one of vae, mvae"),
        (["parity", "nope"], "unknown method 'nope'"),
        (["fit", "mvae", "--data", "nope"], "unknown data 'nope': give an .npz or .toml file or one of mfeat"),
        (["fit", "mvae", "--data", "nope.npz"], "there is no data file 'nope.npz'"),
        (fit("--set", "epoch=3"), "no setting or option 'epoch'; settings are backend, epochs"),
        (fit("--set", "epochs"), "--set takes key=value, not 'epochs'"),
        (fit("--set", "epochs=3"), "epochs is set twice"),
        (fit("--set", "lr=1", "--set", "lr=2"), "--set lr is given twice"),
        (fit("--set", "beta=many"), "setting 'beta' is 'many'"),
        (fit("--set", "beta=-1"), "setting 'beta' is -1"),
        (fit("--set", "optimizer=adan"), "setting 'optimizer' is 'adan'"),
        (fit("--set", "prior_expert=maybe"), "option 'prior_expert' is 'maybe'"),
        (["fit", "mvae", "--data", "data.npz", "--set", "hidden=wide"], "option 'hidden' is 'wide'"),
        (["fit", "mvae", "--data", "data.npz", "--set", "hidden=[0]"], r"option 'hidden' is [0]"),
        (["fit", "mvae", "--data", "data.npz", "--set", "latent=-1"], "option 'latent' is -1"),
        (["fit", "mvae", "--backend", "tensorflow"], "setting 'backend' is 'tensorflow'"),
        (["parity", "mvae", "--dtype", "float8"], "setting 'dtype' is 'float8'"),
        (fit("--lr", "0"), "setting 'lr' is 0"),
        (fit("--dtype", "float16"), "setting 'dtype' is 'float16'"),
        (fit("--precision", "float16"), "setting 'precision' is 'float16'"),
        (fit("--precision", "bfloat16", "--dtype", "float64"), "is of dtype='float32' alone"),
        (fit("--device", "tpu"), "setting 'device' is 'tpu'"),
        (fit("--epochs", "-1"), "--epochs"),
        (fit("--epochs", "few"), "--epochs"),
        (fit("--holdout", "1"), "leaves one side empty"),
        (fit("--holdout", "2"), "--holdout"),
        (fit("--out", "data.npz"), "'data.npz'"),
        (["fit"], "Missing argument"),
        (["fit", "mvae", "--bogus"], "--bogus"),
        (["train"], "train"),
        (["evaluate", "nope"], "'nope' is not a run folder: run.json is missing"),
        (["evaluate", "data.npz"], "'data.npz' is not a run folder"),
        (["evaluate", "run", "--data", "data.npz", "--given", "a,c"], "unknown modality 'c'; this run knows a, b"),
        (["evaluate", "run", "--data", "data.npz", "--given", ""], "modality"),
        (["evaluate", "run", "--data", "mfeat"], "trained on other data"),
        (["evaluate", "run", "--data", "mfeat", "--all"], "none of the run's modalities a, b; they have fou"),
        (["evaluate", "run", "--data", "data.npz", "--particles", "0"], "--particles"),
        (["evaluate", "run", "--data", "data.npz", "--backend", "jax"], "setting 'backend' is 'jax'"),
        (["evaluate", "run", "--data", "data.npz", "--programs", "programs"], "--programs takes file.py:function"),
        (["query", "run", "--data", "data.npz", "--ask", "c", "--out", "q.npz"], "unknown modality 'c'"),
        (["query", "run", "--data", "data.npz", "--ask", "", "--out", "q.npz"], "modality"),
        (["query", "run", "--data", "data.npz", "--given", "a"], "--out"),
        (["generate", "run", "--out", "."], "directory"),
        (["generate", "run", "--out", "-"], "'-' does not stand for a stream here"),
        (["query", "run", "--out", "q.CSV"], "'q.CSV' would be a folder: name it without .CSV, or a file that ends in"),
        (["report", "run", "--out", "-"], "'-' does not stand for a stream here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistyped_command(words: list[str], named: str, refused, folder: Path) -> None:
    assert named in refused(*words)
    assert not (folder / "never").exists()


@pytest.mark.parametrize(
    ("words", "said"), [(["sweep", "s.toml"], "a sweep is not for a launcher"), (fit(), "RANK is missing in the envir")]
)
def test_commands_that_a_launcher_starts_wrongly(words: list[str], said: str, refused, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    assert said in refused(*words)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_a_gpu_that_is_not_there(backend: str, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    import jax
    import torch

    def devices(kind: str | None = None) -> list:
        raise RuntimeError("no such device")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(jax, "devices", devices)
    words = ["fit", "mvae", "--data", "data.npz", "--latent", "2", "--backend", backend, "--out", "never"]
    assert "sees no GPU; use device='auto'" in refused(*words, "--device", "cuda")


def damaged_archive(path: Path, source: Path) -> None:
    """The archive with some bytes of its first array turned over."""
    content = bytearray(source.read_bytes())
    for place in range(300, 340):
        content[place] ^= 0xFF
    path.write_bytes(content)


def write_data(path: Path, kind: str, source: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    if kind == "text":
        path.write_text("a,b\n1,2\n")
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(source.read_bytes()[:500])
    elif kind == "damaged":
        damaged_archive(path, source)
    elif kind == "damaged and compressed":
        np.savez_compressed(path.with_suffix(".whole.npz"), a=x)
        damaged_archive(path, path.with_suffix(".whole.npz"))
    elif kind == "one array":
        with path.open("wb") as file:
            np.save(file, x)
    elif kind == "archive of text":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "hello")
    elif kind == "folder":
        path.mkdir()
    else:
        np.savez(path, **ARRAYS[kind](x))


ARRAYS = {
    "no array": lambda x: {},
    "no item": lambda x: {"a": x[:0]},
    "lengths": lambda x: {"a": x, "b": x[:9]},
    "objects": lambda x: {"a": np.array([{}, []], dtype=object)},
    "text array": lambda x: {"a": np.array(["x", "y"])},
    "complex": lambda x: {"a": x * 1j},
    "scalar": lambda x: {"a": np.array(3.0)},
    "infinite": lambda x: {"a": np.where(x > 1, np.inf, x)},
    "name": lambda x: {"my view": x},
    "name of the latent": lambda x: {"z": x, "a": x},
    "mask without array": lambda x: {"a": x, "b.observed": x > 0},
    "mask of a wrong shape": lambda x: {"a": x, "a.observed": x[:, :2] > 0},
    "only labels": lambda x: {"labels.type": x[:, 0]},
}
FILES = [
    "text",
    "empty file",
    "truncated",
    "damaged",
    "damaged and compressed",
    "one array",
    "archive of text",
    "folder",
]


@pytest.mark.parametrize("kind", [*FILES, *ARRAYS])
def test_a_data_file_that_cannot_be_used(kind: str, refused, folder: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "bad.npz", kind, folder / "data.npz")
    assert len(refused("fit", "mvae", "--data", tmp_path / "bad.npz", *SMALL, "--out", tmp_path / "never")) < 400
    assert not (tmp_path / "never").exists()


def test_data_that_do_not_fit_the_run(refused, tmp_path: Path) -> None:
    np.savez(tmp_path / "wide.npz", a=np.zeros((5, 4)), b=np.zeros((5, 2)))
    np.savez(tmp_path / "negative.npz", a=np.zeros((5, 3)), b=-np.ones((5, 2)))
    for name, said in (
        ("wide", "shape (4,), but shape (3,)"),
        ("negative", "whole numbers of 0 or more, but holds -1.0"),
    ):
        words = ["run", "--data", tmp_path / f"{name}.npz"]
        assert said in refused("evaluate", *words, "--all")
        assert said in refused("query", *words, "--out", "q.npz")


def test_a_nan_is_a_hole_whatever_the_likelihood(folder: Path, tmp_path: Path) -> None:
    b = np.random.default_rng(0).poisson(3.0, size=(40, 2)).astype(float)
    b[:5, 0] = np.nan
    np.savez(tmp_path / "holes.npz", b=b)
    words = ["fit", "mvae", "--data", tmp_path / "holes.npz", "--epochs", "1", *SMALL, "--out", tmp_path / "run"]
    assert cli.main([str(word) for word in words]) == 0


@pytest.mark.parametrize("likelihood", ["gauss", "Normal", ""])
def test_an_unknown_likelihood(likelihood: str) -> None:
    with pytest.raises(ValueError, match=r"'a' has unknown likelihood .*; choose one of normal, laplace"):
        Modality("a", (3,), likelihood)


@pytest.mark.parametrize(
    ("likelihood", "value"),
    [("poisson", -1), ("poisson", 0.5), ("negative_binomial", -2), ("bernoulli", 2), ("categorical", 3)],
)
def test_values_that_a_likelihood_cannot_take(likelihood: str, value: float) -> None:
    x = np.ones((5, 2))
    x[4, 1] = value
    with pytest.raises(ValueError, match=f"'x' is {likelihood}: it takes whole numbers .* but holds {float(value)}"):
        Dataset({"x": x}, modalities=[Modality("x", (2,), likelihood, levels=3)])


PROGRAMS = """
import torch
from torch import nn
from ppvae import VAE, Modality, Program, dist, pyro, method, ops


class Model(Program):
    def __init__(self, latents=("z",), family=lambda y: dist.Normal(y, 1.0), sites=("a", "b"), layer=nn.Identity()):
        super().__init__()
        self.latents, self.family, self.sites = latents, family, sites
        self.nets = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 3), layer), "b": nn.Linear(2, 2)})

    def forward(self, batch):
        with batch.plate():
            zs = [pyro.sample(n, dist.Normal(0.0, 1.0).expand([2]).to_event(1)) for n in self.latents]
            for name in self.sites:
                family = self.family if name == "a" else (lambda y: dist.Normal(y, 1.0))
                pyro.sample(name, family(self.nets[name](zs[0])).to_event(1), obs=batch.get(name))


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j1(x)


class Guide(Program):
    def __init__(self, latents=("z",), width=3):
        super().__init__()
        self.latents, self.net = latents, nn.Linear(width, 2)

    def forward(self, batch):
        loc = self.net(batch.get("a"))
        with batch.plate():
            for name in self.latents:
                pyro.sample(name, dist.Normal(loc, 1.0).to_event(1))


def fine(modalities):
    return VAE(Model(), Guide())

def lacks(modalities):
    return VAE(Model(("z", "w")), Guide())

def extra(modalities):
    return VAE(Model(), Guide(("z", "w")))

def shape(modalities):
    return VAE(Model(), Guide(width=7))

def unexplained(modalities):
    return VAE(Model(sites=("a",)), Guide())

def counts(modalities):
    return VAE(Model(family=lambda y: dist.Poisson(ops.exp(y))), Guide())

def layer(modalities):
    return VAE(Model(layer=Bessel()), Guide())

def statistics(modalities):
    return VAE(Model(layer=nn.BatchNorm1d(3)), Guide())

def likelihood(modalities):
    return method("mvae", [Modality("a", (3,), "gauss")])

def nothing(modalities):
    return None

def no_program(modalities):
    return VAE(nn.Linear(2, 2), Guide())

def objective(modalities):
    return VAE(Model(), Guide(), "elbow")

def raises(modalities):
    return modalities[7]

word = 3
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    (tmp_path / "programs.py").write_text(PROGRAMS)
    return tmp_path / "programs.py"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("lacks", "the guide lacks the site 'w'"),
        ("extra", "the guide has the site 'w', which the model does not sample"),
        ("shape", "the guide Guide fails on the data: mat1 and mat2 shapes"),
        ("unexplained", "the model has no site named 'b'"),
        ("counts", "the model gives 'a' the distribution Poisson, which cannot take "),
        ("likelihood", "unknown likelihood 'gauss'"),
        ("nothing", "must return a ppvae.VAE, but returned NoneType"),
        ("no_program", "the model must be a ppvae.Program, not Linear"),
        ("objective", "elbow"),
        ("raises", "fails at line 75: IndexError"),
        ("absent", "has no function 'absent'"),
        ("word", "has no function 'word'"),
    ],
)
def test_programs_that_do_not_fit(function: str, said: str, programs: Path, refused) -> None:
    words = ["--data", "data.npz", "--backend", "pyro", "--out", "never"]
    assert said in refused("fit", f"{programs}:{function}", *words)


def test_an_option_that_the_programs_do_not_take(programs: Path, refused) -> None:
    said = refused("fit", f"{programs}:fine", "--data", "data.npz", "--latent", "3", "--out", "never")
    assert "there is no setting or option 'latent'" in said


@pytest.mark.parametrize(
    ("function", "said"), [("layer", "bessel_j1"), ("statistics", "use nn.GroupNorm or nn.LayerNorm")]
)
def test_a_layer_without_a_mirror(function: str, said: str, programs: Path, refused) -> None:
    sentence = refused("fit", f"{programs}:{function}", "--data", "data.npz", "--backend", "numpyro", "--out", "never")
    assert said in sentence
    assert "model.nets.a.1" in sentence


@pytest.mark.parametrize(
    ("text", "said"),
    [("import no_such_library", "ModuleNotFoundError"), ("def make(:", "line 1"), ("1 / 0", "ZeroDivisionError")],
)
def test_a_file_of_programs_that_cannot_be_imported(text: str, said: str, refused, tmp_path: Path) -> None:
    (tmp_path / "programs.py").write_text(text)
    assert said in refused("fit", f"{tmp_path}/programs.py:make", "--data", "data.npz", "--out", "never")


def test_a_file_of_programs_that_is_not_there(refused) -> None:
    assert "there is no file 'nowhere.py'" in refused("fit", "nowhere.py:make", "--data", "data.npz")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder / "run", tmp_path / "run"))


def evaluate(run: Path) -> list[str | Path]:
    return ["evaluate", run, "--data", "data.npz", "--particles", "2"]


def test_weights_cut_off_anywhere(copy: Path, refused) -> None:
    whole = (copy / WEIGHTS).read_bytes()
    for size in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        (copy / WEIGHTS).write_bytes(whole[:size])
        assert "is damaged" in refused(*evaluate(copy))


def test_a_description_cut_off_anywhere(copy: Path, refused) -> None:
    whole = (copy / RUN).read_bytes()
    for size in range(0, len(whole) - 1, 97):
        (copy / RUN).write_bytes(whole[:size])
        assert "is damaged" in refused(*evaluate(copy))


@pytest.mark.parametrize("name", [WEIGHTS, RUN])
def test_a_missing_or_garbled_file(name: str, copy: Path, refused) -> None:
    (copy / name).write_bytes(bytes(range(256)) * 9)
    assert "is damaged" in refused(*evaluate(copy))
    (copy / name).unlink()
    assert f"{name} is missing" in refused(*evaluate(copy))


BRANCHES = ("format", "recipe", "modalities", "settings", "history", "notes")


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("wrong", [None, 3, "text", ["x"], {"x": "y"}], ids=str)
def test_a_description_of_wrong_types(branch: str, wrong: object, copy: Path, refused) -> None:
    description = json.loads((copy / RUN).read_text())
    description[branch] = wrong
    (copy / RUN).write_text(json.dumps(description))
    if (branch, wrong) != ("notes", {"x": "y"}):
        assert "is damaged" in refused(*evaluate(copy))
    del description[branch]
    (copy / RUN).write_text(json.dumps(description))
    assert "is damaged" in refused(*evaluate(copy))


@pytest.mark.parametrize("whole", ["null", "[]", "3", '"text"', "{}", "[" * 100_000])
def test_a_description_that_describes_nothing(whole: str, copy: Path, refused) -> None:
    (copy / RUN).write_text(whole)
    assert "is damaged" in refused(*evaluate(copy))


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("recipe", "method"), "nope"),
        (("recipe", "options"), {"latent": "wide"}),
        (("recipe", "options"), {"depth": 3}),
        (("recipe", "options"), None),
        (("modalities", 0, "shape"), "wide"),
        (("modalities", 0, "likelihood"), "gauss"),
        (("modalities", 0, "name"), 3),
        (("settings", "dtype"), "float8"),
        (("settings", "backend"), "os"),
        (("history", 0, "loss"), "low"),
        (("notes", "holdout"), 3),
        (("notes", "holdout"), {"fraction": "half", "seed": None}),
    ],
)
def test_a_description_that_is_wrong_inside(path: tuple, wrong: object, copy: Path, refused) -> None:
    description = json.loads((copy / RUN).read_text())
    branch = description
    for step in path[:-1]:
        branch = branch[step]
    branch[path[-1]] = wrong
    (copy / RUN).write_text(json.dumps(description))
    assert "is damaged" in refused(*evaluate(copy))


def rewritten(run: Path, change: Callable[[dict], object]) -> None:
    """Write the run's weights and moments again, changed."""
    with safetensors.safe_open(run / WEIGHTS, "numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors)
    safetensors.numpy.save_file(tensors, run / WEIGHTS, metadata)


@pytest.mark.parametrize("marks", [None, {}, {"run": "{}"}, {"run": '{"epochs": "two", "step": 1}'}])
def test_weights_without_their_marks(marks: dict[str, str] | None, copy: Path, refused) -> None:
    tensors = safetensors.numpy.load_file(copy / WEIGHTS)
    safetensors.numpy.save_file(tensors, copy / WEIGHTS, marks)
    assert "is damaged" in refused(*evaluate(copy))


def test_weights_of_other_programs(copy: Path, refused) -> None:
    rewritten(copy, lambda tensors: tensors.pop(next(name for name in tensors if name.startswith("weights/"))))
    assert "do not fit these programs" in refused(*evaluate(copy))


def test_moments_that_do_not_fit(copy: Path, refused) -> None:
    rewritten(copy, lambda tensors: tensors.pop(next(name for name in tensors if name.startswith("mu/"))))
    assert "mu do not fit" in refused(*fit("--resume", "--out", copy))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "4"], "trained on other data"),
        (["--holdout", "0.5"], "trained on other data"),
        (["--set", "optimizer=momentum"], "trained with optimizer 'adam'"),
        (["--set", "prior_expert=false"], "is of mvae with options"),
    ],
)
def test_resuming_another_run(words: list[str], said: str, copy: Path, refused) -> None:
    before = (copy / WEIGHTS).read_bytes(), (copy / RUN).read_bytes()
    assert said in refused(*fit(*words, "--resume", "--out", copy))
    assert ((copy / WEIGHTS).read_bytes(), (copy / RUN).read_bytes()) == before


def test_resuming_a_run_of_another_method(copy: Path, refused) -> None:
    words = ["fit", "mopoe", *fit()[2:], "--resume", "--out", copy]
    assert "is of mvae with options" in refused(*words)


def test_a_loss_that_is_no_number_ends_in_a_sentence(refused, tmp_path: Path) -> None:
    assert "lower lr, or set clip" in refused(*fit("--lr", "1e18", "--epochs", "5", "--out", tmp_path / "run"))


@pytest.mark.parametrize(
    "words", [["fit", "nope"], ["evaluate", "nowhere"], ["query", "nowhere", "--out", "q.npz", "--draws", "none"]]
)
def test_the_installed_command_ends_with_exit_code_two(words: list[str], tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("ppvae"), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"Error: \S.*\n", done.stderr)


def test_the_public_face_raises_the_same_sentences(folder: Path) -> None:
    with pytest.raises(ValueError, match="'nowhere' is not a run folder"):
        ppvae.load("nowhere")
    data = ppvae.Dataset({"a": np.zeros((4, 3))})
    with pytest.raises(ValueError, match="there is no setting 'epoch'"):
        ppvae.fit(ppvae.method("vae", data.modalities), data, epoch=3)
