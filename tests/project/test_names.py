"""Names: any identifier names a modality, a latent or a label, and nothing depends on how they are called."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Modality, Program, cli, diagnostics, dist, ops, pyro
from ppvae.cli import places
from ppvae.data.reader import read_npz
from ppvae.inference import arviz
from ppvae.inference.fitted import Fitted
from ppvae.report.measures import measure
from ppvae.report.page import report
from ppvae.report.subsets import Effort
from ppvae.runs.settings import Settings
from ppvae.training.checks.inspection import inspect
from ppvae.zoo.table import METHODS

BACKENDS = ("pyro", "numpyro")
Names = tuple[tuple[str, ...], tuple[str, ...]]

NASTY = (
    # ppvae's own words, and those of the files it writes
    *("loss", "sites", "seconds", "file", "allow_pickle", "items", "draws", "batch", "bound", "true", "labels"),
    *("log_joint", "log_guide", "log_prior", "log_scale", "log_weights", "divergences", "item_"),
    # ArviZ, xarray, NumPy, pandas and torch
    *("item", "draw", "chain", "sample", "latent", "loss_feature", "w_true_latent", "khat", "log_likelihood"),
    *("dtype", "index", "training", "forward", "keys", "weight", "model", "guide", "params"),
    # Python, and site names of the zoo
    *("class", "None", "self", "__class__", "__dict__", "z", "z_class", "w_true", "y", "cluster", "loadings_y"),
    # letters, and length
    *("größe", "名前", "ﬁ", "fi", "Loss", "µ", "μ", "n" * 80, "n" * 79 + "m"),
)
HALVES = ((NASTY[::2], NASTY[1::2]), (NASTY[1::2], NASTY[::2]))  # names of modalities, and of latents
FEW = (("loss", "items", "file", "名前", "n" * 80), ("item", "draws", "log_joint", "None"))  # NumPyro compiles slowly
ROWS, EFFORT = 6, Effort(items=6, weighed=2, particles=25, draws=3, corrected=0)
TORCH = ("items", "training", "__class__")  # what nn.ModuleDict has itself

halves = pytest.mark.parametrize("names", HALVES, ids=["one", "other"])


class Sum(Program):
    """``u_k ~ Normal(0, 1)``;  ``x_m ~ Normal(w_m Σ_k u_k, 1)``."""

    def __init__(self, modalities: Sequence[str], latents: Sequence[str]) -> None:
        super().__init__()
        self.names, self.latents = modalities, latents
        self.weights = nn.Parameter(torch.linspace(0.5, 1.5, len(modalities)))

    def forward(self, batch: Any) -> None:
        with batch.plate():
            total = sum(pyro.sample(name, dist.Normal(0.0, 1.0)) for name in self.latents)[..., None]
            for i, name in enumerate(self.names):
                if name in batch.asked(self.names):
                    pyro.sample(name, dist.Normal(self.weights[i] * total, 1.0).to_event(1), obs=batch.get(name))


class Shares(Program):
    """``u_k ~ Normal(a Σ_m x_m, s)``, the sum over what was measured."""

    def __init__(self, modalities: Sequence[str], latents: Sequence[str]) -> None:
        super().__init__()
        self.names, self.latents = modalities, latents
        self.slope, self.log_scale = (nn.Parameter(torch.tensor(value)) for value in (0.1, -1.0))

    def forward(self, batch: Any) -> None:
        given = [name for name in self.names if name in batch.arrays]
        seen = [ops.where(batch.present(name), batch.get(name)[..., 0], 0.0) for name in given]
        loc = self.slope * (sum(seen) if seen else ops.zeros((batch.size,)))
        with batch.plate():
            for name in self.latents:
                pyro.sample(name, dist.Normal(loc, ops.exp(self.log_scale)))


def plain(names: Names) -> Names:
    """Plain names in the same alphabetical order."""
    measured, hidden = (tuple(f"{sorted(part).index(name):02d}" for name in part) for part in names)
    return tuple(f"m{number}" for number in measured), tuple(f"u{number}" for number in hidden)


@cache
def fitted(names: Names, backend: str = "pyro") -> tuple[Fitted, Dataset]:
    """A run whose modalities and latents are called so, and whose labels have all of the names."""
    values = np.random.default_rng(0).normal(size=(len(names[0]), ROWS, 1))
    values[0, 0] = np.nan
    data = Dataset(dict(zip(names[0], values, strict=True)), labels={name: np.arange(ROWS) % 2 for name in NASTY})
    vae = VAE(Sum(*names), Shares(*names))
    return ppvae.fit(vae, data, backend=backend, epochs=2, batch_size=3, device="cpu", validation=data), data


@halves
def test_a_run_does_not_depend_on_names(names: Names, tmp_path: Path) -> None:
    (run, data), (other, theirs) = fitted(names), fitted(plain(names))
    called = dict(zip(sum(names, ()), sum(plain(names), ()), strict=True))
    for entry, expected in zip(run.history, other.history, strict=True):
        assert {called[name]: share for name, share in entry["sites"].items()} == expected["sites"]
        assert (entry["loss"], entry["validation_loss"]) == (expected["loss"], expected["validation_loss"])
    run.save(tmp_path)
    again = ppvae.load(tmp_path, vae=VAE(Sum(*names), Shares(*names)))
    assert again.history == run.history
    for found, expected in zip(answers(again, data), answers(other, theirs), strict=True):
        assert [called.get(name, name) for name in found] == list(expected)
        for name, values in found.items():
            np.testing.assert_array_equal(values, expected[called.get(name, name)], err_msg=name)


def answers(run: Fitted, data: Dataset) -> list[dict[str, np.ndarray]]:
    imputed, evidence = run.impute(data, draws=2), {"log evidence": run.log_evidence(data, particles=3)}
    return [run.encode(data), run.query(data, given=run.names[:3]), run.generate(2), imputed, evidence]


@halves
def test_diagnostics_do_not_depend_on_names(names: Names) -> None:
    for look in (
        lambda run, data: diagnostics.activity(run, data, draws=3).kl,
        lambda run, data: diagnostics.surgery(run, data).information,
        lambda run, data: diagnostics.simulate(run, data, items=3, draws=3).flat[2],
        lambda run, data: diagnostics.simulate(run, data, items=3, draws=3).log_joint[0],
        lambda run, data: diagnostics.leave_one_modality_out(run, data, run.names[:1], 30)[run.names[0]].values,
    ):
        np.testing.assert_array_equal(look(*fitted(names)), look(*fitted(plain(names))))


@halves
def test_arviz_takes_every_name(names: Names, tmp_path: Path) -> None:
    check_arviz(*fitted(names), tmp_path / "result.nc")


def check_arviz(run: Fitted, data: Dataset, path: Path) -> None:
    """What is read back is what the run answers, under its own name or one beside that of a dimension."""
    arviz.save(run.to_arviz(data, draws=30), path)
    result = az.from_netcdf(path)
    dims = {"sample", *(dim for group in result.groups() for dim in result[group].dims)}
    called = {name: apart(name) if name in dims else name for name in NASTY}
    drawn = {"posterior": run.encode(data, draws=30), "posterior_predictive": run.query(data, draws=30)}
    for group, arrays in drawn.items():
        for name, values in arrays.items():
            np.testing.assert_array_equal(result[group][called[name]].values[0], values, err_msg=name)
    assert set(result["constant_data"].data_vars) == set(called.values())
    assert len(az.summary(result, kind="stats", fmt="xarray").data_vars) == len(drawn["posterior"])
    assert "sample" in az.extract(result).dims
    result.close()


def apart(name: str) -> str:
    """The name with the fewest underscores after it that make it another."""
    return next(name + "_" * n for n in itertools.count(1) if name + "_" * n not in NASTY)


def test_numpyro_takes_the_worst_names_from_fit_to_arviz(tmp_path: Path) -> None:
    run, data = fitted(FEW, "numpyro")
    for entry in run.history:
        assert set(entry["sites"]) == set(sum(FEW, ()))
        assert entry["loss"] == pytest.approx(-sum(entry["sites"].values()), rel=1e-6)
    run.save(tmp_path)
    again = ppvae.load(tmp_path, vae=VAE(Sum(*FEW), Shares(*FEW)))
    assert set(again.generate(2)) == set(FEW[0])
    check_arviz(again, data, tmp_path / "result.nc")


@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_the_report_takes_long_names_and_any_letters(backend: str, tmp_path: Path) -> None:
    run, data = fitted(FEW, backend)
    data = data.only(FEW[0][-2:])
    found = report(measure(run, data, effort=EFFORT), tmp_path / "report.html")
    assert set(found.shares) == set(data.arrays)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(name in text for name in data.arrays)
    json.dumps(dataclasses.asdict(found))


def views(*names: str) -> Dataset:
    """A data set for any method of the zoo: modalities of these names, and the label of M2."""
    values = np.random.default_rng(0).normal(size=(len(names), 8, 2))
    digits = {"lambda": np.arange(8)[:, None] % 2}
    kinds = [*(Modality(name, (2,)) for name in names), Modality("lambda", (1,), "categorical", levels=2)]
    return Dataset({**dict(zip(names, values, strict=True)), **digits}, modalities=kinds)


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_takes_the_names_of_torch(method: str) -> None:
    data = views(*TORCH) if method == "m2" else views(*TORCH).only(TORCH)
    if method == "delayed":  # of series
        data = Dataset({name: array[:, None] for name, array in data.arrays.items()})
    vae = ppvae.method(method, data.modalities, latent=2, hidden=(2,))
    inspect(vae, data, Settings())
    again = copy.deepcopy(vae).pair.eval()
    assert not any(module.training for module in again.modules())
    again.load_state_dict(vae.pair.state_dict())


def test_numpyro_takes_the_names_of_torch() -> None:
    data = views(*TORCH).only(TORCH)
    assert ppvae.parity(ppvae.method("mvae", data.modalities, latent=1, hidden=()), data.batch())["ok"]


@pytest.mark.slow
def test_the_command_line_takes_names_of_files_torch_and_python(tmp_path: Path, capfd: Any) -> None:
    names, file, run = ["file", "allow_pickle", "items", "名前"], str(tmp_path / "data.npz"), str(tmp_path / "run")
    rng = np.random.default_rng(0)
    places.write(Path(file), {**{name: rng.normal(size=(12, 2)) for name in names}, "labels.class": np.arange(12)})
    assert set(read_npz(file).arrays) == set(names)
    assert set(read_npz(file).labels) == {"class"}
    options = ["--latent", "1", "--set", "hidden=[2]", "--backend", "pyro", "--epochs", "1", "--set", "draws=2"]
    assert cli.main(["fit", "mmvae", "--data", file, *options, "--out", run]) == 0
    for words in (["query", run, "--given", "file,名前"], ["generate", run]):
        assert cli.main([*words, "--force", "--out", str(tmp_path / "answer.npz")]) == 0
        with np.load(tmp_path / "answer.npz", allow_pickle=False) as answer:
            assert answer.files == names
            assert all(np.isfinite(answer[name]).all() for name in names)
    assert cli.main(["diagnose", run, "--items", "4", "--particles", "25", "--json"]) == 0
    assert list(json.loads(capfd.readouterr().out.splitlines()[-1])["shares"]) == names


def test_a_modality_named_like_a_networks_part_owns_no_more_than_its_own() -> None:
    found = []
    for names in (("networks", "weight"), ("ma", "mb")):
        data = views(*names).only(names)
        vae = ppvae.method("mvae", data.modalities, latent=1, hidden=(2,))
        run = ppvae.fit(vae, data, backend="pyro", epochs=1, device="cpu")
        found.append(diagnostics.gradient_balance(run, data, steps=1).norms)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("method", "name"), [("mvae", "z"), ("cmvae", "cluster"), ("m2", "y")])
def test_a_modality_named_like_a_latent_of_its_method_is_one_sentence_before_training(method: str, name: str) -> None:
    data = views(name, "b") if method == "m2" else views(name, "b").only([name, "b"])
    said = f"two sites named '{name}', a modality and a latent have to differ: rename one"
    with pytest.raises(ValueError, match=said):
        ppvae.fit(ppvae.method(method, data.modalities, latent=2), data, backend="pyro", epochs=1)


def test_the_two_names_that_pyro_keeps_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be named '_RETURN', which Pyro keeps for itself; rename it"):
        Modality("_RETURN", (1,))
