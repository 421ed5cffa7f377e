"""The command line: what every command prints, as JSON and for people, and how it ends."""

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import ppvae
from ppvae import cli
from ppvae.backends import parity
from ppvae.cli import sources, tables
from ppvae.data.reader import read_npz
from ppvae.runs.settings import Settings
from ppvae.training import fit as fitting

SMALL = ["--latent", "2", "--set", "hidden=[8]", "--batch-size", "16"]
PROGRAMS = """
from pathlib import Path
import ppvae

print("imported")
Path(__file__).with_suffix(".ran").touch()

def make(modalities, latent=3):
    pair = ppvae.method("mvae", modalities, latent=latent, hidden=(8,))
    return ppvae.VAE(pair.model, pair.guide)
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two data files and a file of programs."""
    place = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    z = rng.normal(size=(80, 1))
    arrays = {"a": z + rng.normal(size=(80, 3)), "b": (z + rng.normal(size=(80, 4)) > 0).astype(float)}
    np.savez(place / "data.npz", **arrays)
    np.savez(place / "other.npz", **{name: array[::-1] + (name == "a") for name, array in arrays.items()})
    (place / "programs.py").write_text(PROGRAMS)
    return place


@pytest.fixture(scope="session")
def run(folder: Path) -> Path:
    data = ["--data", str(folder / "data.npz")]
    words = ["fit", "mvae", *data, "--backend", "pyro", "--epochs", "3", *SMALL, "--out", str(folder / "run")]
    assert cli.main(words) == 0
    return folder / "run"


class Answer:
    """Runs a command in this process; keeps its exit code and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], words: tuple[str | Path, ...]) -> None:
        capsys.readouterr()
        self.code = cli.main([str(word) for word in words])
        self.out, self.err = capsys.readouterr()

    @property
    def json(self) -> dict:
        assert self.code in (0, 1), self.err
        assert self.out.count("\n") == 1
        return json.loads(self.out)


@pytest.fixture
def ppvae_(capsys: pytest.CaptureFixture[str]):
    return lambda *words: Answer(capsys, words)


def test_no_help_page_loads_torch_or_jax(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from ppvae.cli import app, main\n"
        "names = [c.name or c.callback.__name__ for c in app.registered_commands]\n"
        "codes = [main([*words, '--help']) for words in [[], *([name] for name in names)]]\n"
        "print(names, codes, {'torch', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    names = ["demo", "list", "fit", "sweep", "evaluate", "query", "generate", "diagnose", "report", "parity"]
    assert done.stdout.splitlines()[-1] == f"{names} {[0] * 11} set()"


def test_list_shows_every_method_data_set_and_likelihood(ppvae_) -> None:
    listed = ppvae_("list", "--json").json
    assert listed["methods"].keys() == ppvae.zoo.table.METHODS.keys()
    assert listed["datasets"] == ["mfeat", "spoken_digits", "sprites", "polydigits"]
    assert "poisson" in listed["likelihoods"]
    table = ppvae_("list").out
    assert all(name in table for name in [*listed["methods"], *listed["likelihoods"], "mfeat"])


def test_list_shows_one_list_alone(ppvae_) -> None:
    assert ppvae_("list", "likelihoods", "--json").json == {"likelihoods": list(ppvae.language.modality.LIKELIHOODS)}
    methods = ppvae_("list", "methods")
    rows = ppvae.zoo.table.METHODS.values()
    assert all(row.when in methods.out and row.reference in methods.out for row in rows)
    assert "poisson" not in methods.out
    assert "poisson" in ppvae_("list", "likelihoods").out


def test_an_unknown_list_is_one_sentence(ppvae_) -> None:
    answer = ppvae_("list", "method")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "Error: there is no list of 'method'; choose one of methods, datasets, likelihoods\n"


def test_a_label_says_how_much_each_row_counts(ppvae_, folder: Path, tmp_path: Path) -> None:
    with np.load(folder / "data.npz") as stored:
        arrays = dict(stored)
    counts = np.arange(80) % 3.0
    arrays["a"][counts == 0] += 100
    np.savez(tmp_path / "data.npz", **arrays, **{"labels.count": counts, "labels.name": np.full(80, "x")})
    words = ["mvae", "--data", tmp_path / "data.npz", "--backend", "pyro", "--epochs", 2, *SMALL]
    out = tmp_path / "run"
    loss = ppvae_("fit", *words, "--out", out, "--weights", "count", "--json").json["loss"]
    train, _ = read_npz(tmp_path / "data.npz").split(0.75, seed=0)
    vae = ppvae.method("mvae", train.modalities, latent=2, hidden=(8,))
    options = {"backend": "pyro", "epochs": 2, "batch_size": 16, "progress": False}
    assert ppvae.fit(vae, train, weights=train.labels["count"], **options).history[-1]["loss"] == loss
    assert ppvae_("evaluate", out, "--particles", 2, "--json").json["items"] == 20
    resumed = ["fit", *words, "--out", out, "--resume"]
    assert "trained on other data" in ppvae_(*resumed).err
    assert ppvae_(*resumed, "--weights", "count").code == 0
    for label, told in (
        ("none", "the data have no label 'none'; they have count, name"),
        ("name", "must be 60 numbers"),
    ):
        assert told in ppvae_("fit", *words, "--out", tmp_path / "other", "--weights", label).err


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_fit_ends_with_the_figures_of_training(backend: str, ppvae_, folder: Path, tmp_path: Path) -> None:
    data = ["--data", folder / "data.npz", "--out", tmp_path / "run"]
    answer = ppvae_("fit", "mvae", *data, "--backend", backend, "--epochs", 3, *SMALL, "--json")
    figures, fitted = answer.json, ppvae.load(tmp_path / "run")
    assert answer.err == ""
    assert figures["run"] == str(tmp_path / "run")
    assert (figures["method"], figures["backend"], figures["epochs"]) == ("mvae", backend, 3)
    assert figures["loss"] == fitted.history[-1]["loss"]
    assert figures["seconds_per_epoch"] == np.median([entry["seconds"] for entry in fitted.history[1:]])
    assert figures["ms_per_step"] == pytest.approx(1000 * figures["seconds_per_epoch"] / 3)  # 60 rows, 16 a step
    assert figures["first_step_seconds"] > 0
    assert figures.keys() == {
        *("run", "method", "likelihoods", "backend", "epochs", "stopped"),
        *("loss", "seconds_per_epoch", "ms_per_step", "first_step_seconds"),
    }


def test_a_fit_without_a_number_of_epochs_says_why_it_stopped(ppvae_, folder: Path, tmp_path: Path) -> None:
    words = ["--data", folder / "data.npz", "--backend", "pyro", *SMALL, "--json"]
    answer = ppvae_("fit", "mopoe", *words, "--set", "patience=3", "--lr", 0.05, "--out", tmp_path / "run")
    fitted = ppvae.load(tmp_path / "run")
    best = fitted.history[-1]["best_epoch"]
    assert fitted.settings.epochs == "auto"
    assert answer.json["stopped"] == (
        "the held-out loss fell no further in the last 3 epochs; "
        f"kept are the weights of epoch {best}, with the lowest held-out loss"
    )
    assert ppvae_("evaluate", tmp_path / "run", "--json").json["items"] == 20
    answer = ppvae_("fit", "telbo", *words, "--out", tmp_path / "constant")
    assert (answer.json["epochs"], answer.json["stopped"]) == (334, "all 334 epochs are done")


def test_flags_and_set_reach_the_settings_and_the_programs(ppvae_, folder: Path, tmp_path: Path) -> None:
    flags = ["--epochs", 1, "--seed", 3, "--lr", 0.01, "--dtype", "float64", "--device", "cpu", "--holdout", 0.5]
    words = ["fit", "mvae", "--data", folder / "data.npz", "--backend", "pyro", *flags, *SMALL, "--out", tmp_path / "r"]
    assert ppvae_(*words, "--set", "optimizer=sgd", "--set", "clip=1", "--set", "prior_expert=false").code == 0
    fitted = ppvae.load(tmp_path / "r")
    chosen = {"epochs": 1, "seed": 3, "lr": 0.01, "dtype": "float64", "device": "cpu", "optimizer": "sgd", "clip": 1}
    assert fitted.settings == Settings(backend="pyro", batch_size=16, kl_warmup=0.5, **chosen)
    assert fitted.vae.recipe["options"] == {"latent": 2, "hidden": [8], "prior_expert": False}
    assert fitted.notes["holdout"] == {"fraction": 0.5, "seed": 3}


def test_the_run_folder_is_named_after_the_method(ppvae_, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["--data", folder / "data.npz"]
    words = [*data, "--backend", "pyro", "--epochs", 0, "--json"]
    assert ppvae_("fit", "vae", *words).json["run"] == str(Path("runs", "vae"))
    assert ppvae_("fit", f"{folder}/programs.py:make", *words).json["run"] == str(Path("runs", "programs"))


def test_evaluate_reports_on_the_rows_held_out(run: Path, folder: Path, ppvae_) -> None:
    words = ["evaluate", run, "--data", folder / "data.npz", "--particles", 20, "--json"]
    figures = ppvae_(*words).json
    _, test = read_npz(folder / "data.npz").split(0.75, seed=0)
    weights = ppvae.load(run).log_weights(test, particles=20)
    assert (figures["items"], figures["particles"]) == (20, 20)
    assert figures["elbo"]["mean"] == pytest.approx(weights.mean(), rel=1e-5)
    assert figures["elbo"]["se"] == pytest.approx(weights.mean(0).std(ddof=1) / np.sqrt(20), rel=1e-4)
    evidence = ppvae.load(run).log_evidence(test, particles=20)
    assert figures["log_evidence"]["mean"] == pytest.approx(evidence.mean(), rel=1e-5)
    assert figures["log_evidence"]["mean"] >= figures["elbo"]["mean"]
    assert ppvae_(*words, "--all").json["items"] == 80


def test_evaluate_says_how_near_predicted_texts_and_pictures_come(ppvae_, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = [
        ppvae.Modality("word", (3,), "autoregressive", levels=6, kind="text"),
        ppvae.Modality("look", (1, 4, 4), kind="image"),
    ]
    words = np.array([[4, 3, 0], [5, 3, 0]])[rng.integers(2, size=6)]
    data = ppvae.Dataset({"word": words, "look": rng.random((6, 1, 4, 4))}, modalities=kinds)
    np.savez(tmp_path / "data.npz", **data.arrays)
    vae = ppvae.method("mvae", data.modalities, latent=1, hidden=(4,))
    fitted = ppvae.fit(vae, data, backend="pyro", epochs=0, out=tmp_path / "run", progress=False)
    evaluate = ["evaluate", tmp_path / "run", "--data", tmp_path / "data.npz", "--all", "--particles", 2]
    found = ppvae_(*evaluate, "--json").json
    near = ppvae.metrics.likenesses(fitted, data)
    for name, measure in (("word", "edit_distance"), ("word", "exact_match"), ("look", "ssim")):
        values = near[name][measure]
        told = {"mean": pytest.approx(values.mean()), "se": pytest.approx(values.std(ddof=1) / np.sqrt(6))}
        assert found[f"{name}_{measure}"] == told
    assert "word edit distance" in ppvae_(*evaluate).out
    assert "look_ssim" in ppvae_(*evaluate, "--given", "word", "--json").json


def test_evaluate_says_how_often_labels_are_read_off_predictions(
    run: Path, folder: Path, ppvae_, tmp_path: Path
) -> None:
    with np.load(folder / "data.npz") as stored:
        arrays = dict(stored)
    side = np.where(arrays["a"][:, 0] > 0, "up", "down")
    np.savez(tmp_path / "data.npz", **arrays, **{"labels.side": side})
    evaluate = ["evaluate", run, "--data", tmp_path / "data.npz", "--all", "--particles", 2]
    found = ppvae_(*evaluate, "--given", "a", "--json").json
    fitted = ppvae.load(run)
    data = ppvae.Dataset(arrays, labels={"side": side}, modalities=fitted.modalities)
    expected = ppvae.metrics.label_coherences(fitted, data, given=["a"])
    for name, each in expected.items():
        assert found[f"{name}_coherence_side"] == asdict(each["side"])
    assert re.search(r"a coherence side +\d+\.\d% \(\d+\.\d% to \d+\.\d%\), of real ones \d", ppvae_(*evaluate).out)


def test_evaluate_can_look_at_some_modalities_on_either_backend(run: Path, folder: Path, ppvae_) -> None:
    words = ["evaluate", run, "--data", folder / "data.npz", "--particles", 1000, "--given", "a", "--json"]
    one, other = (ppvae_(*words, "--backend", backend).json for backend in ("pyro", "numpyro"))
    assert one["log_evidence"]["mean"] == pytest.approx(other["log_evidence"]["mean"], abs=0.3)


@pytest.mark.slow
def test_evaluate_says_how_many_rows_were_corrected_and_which_fail(run: Path, folder: Path, ppvae_) -> None:
    words = ["evaluate", run, "--data", folder / "data.npz", "--particles", 200, "--posterior", "auto", "--json"]
    found = ppvae_(*words).json
    assert found["elbo"]["mean"] < found["log_evidence"]["mean"] < found["elbo"]["mean"] + 2
    assert found["corrected"] in range(21)
    assert found["failed"] == []


def test_without_holdout_evaluate_reports_on_all_rows(ppvae_, folder: Path, tmp_path: Path) -> None:
    data = ["--data", folder / "data.npz"]
    assert ppvae_("fit", "mvae", *data, "--backend", "pyro", "--epochs", 1, "--holdout", 0, "--out", tmp_path).code == 0
    assert ppvae_("evaluate", tmp_path, *data, "--particles", 2, "--json").json["items"] == 80


def test_evaluate_knows_the_data_of_its_run(run: Path, folder: Path, ppvae_) -> None:
    words = ["evaluate", run, "--data", folder / "other.npz", "--particles", 2, "--json"]
    answer = ppvae_(*words)
    assert answer.code == 2
    assert "--all" in answer.err
    assert ppvae_(*words, "--all").json["items"] == 80


def test_query_writes_draws_of_what_was_asked(run: Path, folder: Path, tmp_path: Path, ppvae_) -> None:
    out = tmp_path / "new" / "drawn.npz"
    words = ["query", run, "--data", folder / "data.npz", "--given", "a", "--ask", "b", "--draws", 5, "--out", out]
    assert ppvae_(*words, "--json").json == {"out": str(out), "items": 80, "draws": 5, "modalities": ["b"]}
    with np.load(out) as drawn:
        assert drawn.files == ["b"]
        assert drawn["b"].shape == (5, 80, 4)
        expected = ppvae.load(run).query(read_npz(folder / "data.npz"), ["a"], ["b"], draws=5)
        np.testing.assert_array_equal(drawn["b"], expected["b"])


def test_means_are_one_answer_for_each_item(run: Path, folder: Path, tmp_path: Path, ppvae_) -> None:
    out = tmp_path / "means.npz"
    words = ["query", run, "--data", folder / "data.npz", "--ask", "b", "--mean", "--out", out, "--force", "--json"]
    for asked, draws in ([], 100), (["--draws", 7], 7):
        assert ppvae_(*words, *asked).json["draws"] == draws
        with np.load(out) as found:
            expected = ppvae.load(run).query(read_npz(folder / "data.npz"), ask=["b"], draws=draws)
            np.testing.assert_allclose(found["b"], expected["b"].mean(0), rtol=1e-5, atol=1e-6)
    ppvae_("generate", run, "--items", 6, "--mean", "--out", out, "--force")
    with np.load(out) as found:
        for name, values in ppvae.load(run).generate(6, draws=100).items():
            np.testing.assert_allclose(found[name], values.mean(0), rtol=1e-5, atol=1e-6)


def test_generate_writes_new_items(run: Path, tmp_path: Path, ppvae_) -> None:
    out = tmp_path / "new.npz"
    drawn = []
    for seed in (1, 1, 2):
        words = ["--items", 6, "--seed", seed, "--out", out, "--force", "--json"]
        assert ppvae_("generate", run, *words).json["items"] == 6
        with np.load(out) as file:
            drawn.append({name: file[name] for name in file.files})
    assert {name: array.shape for name, array in drawn[0].items()} == {"a": (6, 3), "b": (6, 4)}
    np.testing.assert_array_equal(drawn[0]["a"], drawn[1]["a"])
    assert (drawn[0]["a"] != drawn[2]["a"]).any()


def test_parity_reports_every_site_and_parameter(folder: Path, ppvae_) -> None:
    data = ["--data", folder / "data.npz"]
    figures = ppvae_("parity", "mvae", *data, "--latent", 2, "--set", "hidden=[8]", "--dtype", "float64", "--json").json
    assert (figures["method"], figures["dtype"], figures["ok"]) == ("mvae", "float64", True)
    assert figures["sites"].keys() == {"z", "a", "b", "guide z"}
    assert figures["max_logprob_difference"] == max(figures["sites"].values()) < 1e-9
    assert figures["max_gradient_difference"] == max(figures["parameters"].values()) < 1e-9


def test_backends_that_differ_are_exit_code_one(folder: Path, ppvae_, monkeypatch) -> None:
    apart = {"dtype": "float32", "sites": {"z": 0.5}, "parameters": {"w": 0.5}, "ok": False}
    monkeypatch.setattr(parity, "parity", lambda *args, **options: apart)
    answer = ppvae_("parity", "mvae", "--data", folder / "data.npz")
    assert answer.code == 1
    assert "DIFFER" in answer.out


def test_programs_of_your_own_are_fitted_and_loaded(folder: Path, tmp_path: Path, ppvae_) -> None:
    programs, run = f"{folder}/programs.py:make", tmp_path / "run"
    data = ["--data", folder / "data.npz"]
    trained = ppvae_("fit", programs, *data, "--backend", "pyro", "--epochs", 1, "--latent", 4, "--out", run, "--json")
    assert trained.json["method"] == programs  # one line, though the file prints
    (folder / "programs.ran").unlink()
    refused = ppvae_("evaluate", run, *data)
    assert refused.code == 2
    assert f"--programs {programs}" in refused.err
    assert not (folder / "programs.ran").exists()
    words = ["evaluate", run, *data, "--particles", 2, "--programs", programs, "--json"]
    assert ppvae_(*words).json["items"] == 20
    assert ppvae_("generate", run, "--programs", programs, "--out", tmp_path / "new.npz").code == 0


def test_every_command_shows_people_a_table(run: Path, folder: Path, tmp_path: Path, ppvae_) -> None:
    data = ["--data", folder / "data.npz"]
    table = ppvae_("evaluate", run, *data, "--particles", 5).out
    assert all(word in table for word in ("log evidence", "elbo", "±", "items", "20"))
    again = ["fit", "mvae", *data, "--backend", "pyro", "--epochs", 1, "--out", tmp_path]
    assert "seconds per epoch" in ppvae_(*again).out


def test_demo_ends_with_where_to_look(ppvae_, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ppvae.cli.demo", SimpleNamespace(demo=lambda out, force: []))
    assert ppvae_("demo", "--out", tmp_path, "--json").json == {"out": str(tmp_path), "runs": []}
    assert str(tmp_path) in ppvae_("demo", "--out", tmp_path).out.replace("\n", "")
    monkeypatch.chdir(tmp_path)
    assert ppvae_("demo", "--json").json == {"out": "out/demo", "runs": []}


@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_says_what_is_kept(kept: bool, ppvae_, run: Path, folder: Path, tmp_path: Path, monkeypatch) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "fit", interrupted)
    answer = ppvae_("fit", "mvae", "--data", folder / "data.npz", "--out", run if kept else tmp_path)
    assert answer.code == 130
    assert answer.err.count("\n") == 1
    assert ("--resume" in answer.err) == kept


def test_a_bug_keeps_its_traceback(ppvae_, monkeypatch) -> None:
    monkeypatch.setattr(sources, "data_set", lambda *_: np.zeros(3).reshape(2))
    with pytest.raises(ValueError, match="reshape"):
        ppvae_("fit", "mvae")


def test_a_single_item_has_no_standard_error() -> None:
    figures = ppvae.cli.summaries.of_evidence(np.zeros(1), np.zeros(1), particles=2)
    assert figures["log_evidence"] == {"mean": 0.0, "se": None}
    assert "±" not in tables.facts(figures).columns[1]._cells[2]
    assert figures["items"] == 1
