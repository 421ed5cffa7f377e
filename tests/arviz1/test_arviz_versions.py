"""What must hold on every version of ArviZ; runs without torch and jax, so that 1.x can test it too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pytest
import xarray as xr

from ppvae.inference import arviz

only_1 = pytest.mark.skipif(not arviz.TREES, reason="a trap of ArviZ 1.x")
RNG = np.random.default_rng(0)


def overconfident(draws: int, rows: int, ratio: float) -> np.ndarray:
    """Log weights ``(draws, rows)`` of a normal target under a proposal whose scale is ``ratio`` of the target's.

    With u from the proposal in its own units, log w = log ratio + (1 − ratio²) u² / 2: its tail index is 1 − ratio².
    """
    u = np.random.default_rng(1).normal(size=(draws, rows))
    return np.log(ratio) + (1 - ratio**2) * u**2 / 2


def library_khat(log_weights: np.ndarray) -> Any:
    from arviz_stats.base import array_stats

    return array_stats.psislw(log_weights)[1]


def test_neither_torch_nor_jax_is_needed() -> None:
    if "torch" in sys.modules or "jax" in sys.modules:
        pytest.skip("another test of this process loaded them")
    assert {"ppvae", "ppvae.inference.arviz"} <= sys.modules.keys()


@pytest.mark.parametrize("ratio", [0.4, 0.6, 0.8])
def test_khat_is_the_tail_index_of_an_overconfident_proposal(ratio: float) -> None:
    _, khat = arviz.psis(overconfident(20_000, 10, ratio))
    assert khat.mean() == pytest.approx(1 - ratio**2, abs=0.1)


def test_khat_of_a_wide_proposal_is_below_a_half() -> None:
    assert (arviz.psis(overconfident(4000, 10, 1.5))[1] < 0.5).all()


def test_smoothed_weights_sum_to_one_and_keep_all_but_the_tail() -> None:
    raw = overconfident(1000, 3, 0.4)
    smooth, _ = arviz.psis(raw)
    np.testing.assert_allclose(np.exp(smooth).sum(0), 1, rtol=1e-12)
    low = np.argsort(raw, axis=0)[:800]
    shift = np.take_along_axis(smooth - raw, low, 0)
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:1], shift.shape), atol=1e-12)
    assert (np.argsort(smooth, axis=0)[:800] == low).all()


def test_the_tail_of_the_target_is_smoothed_and_not_of_its_inverse() -> None:
    raw = overconfident(1000, 1, 0.4)[:, 0]
    smooth, _ = arviz.psis(raw)
    assert smooth.argmax() == raw.argmax()
    assert smooth.max() - smooth.min() < raw.max() - raw.min()


def test_rows_are_independent_and_the_input_stays() -> None:
    raw = overconfident(400, 6, 0.5)
    before = raw.copy()
    _, khat = arviz.psis(raw.reshape(400, 2, 3))
    assert np.array_equal(raw, before)
    assert np.array_equal(khat.ravel(), [arviz.psis(raw[:, i])[1] for i in range(6)])


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_an_exact_posterior_is_perfect_up_to_rounding(noise: float) -> None:
    smooth, khat = arviz.psis(-700 + noise * RNG.normal(size=(200, 4)))
    assert np.array_equal(khat, np.full(4, -np.inf))
    np.testing.assert_allclose(np.exp(smooth), 1 / 200, rtol=10 * noise + 1e-12)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_weight_that_is_no_number_fails_its_item_alone(wrong: float) -> None:
    raw = overconfident(200, 2, 1.5)
    raw[7, 0] = wrong
    _, khat = arviz.psis(raw)
    assert khat[0] == np.inf
    assert khat[1] < 0.7


def test_weights_that_are_all_zero_fail() -> None:
    assert arviz.psis(np.full(100, -np.inf))[1] == np.inf


def test_some_weights_may_be_zero() -> None:
    raw = overconfident(1000, 1, 1.5)[:, 0]
    raw[:300] = -np.inf
    smooth, khat = arviz.psis(raw)
    assert np.isneginf(smooth[:300]).all()
    assert khat < 0.7
    assert np.exp(smooth).sum() == pytest.approx(1)


def test_a_uniform_target_on_half_of_the_proposal_is_perfect_there() -> None:
    assert arviz.psis(np.where(np.arange(200) % 2, 0.0, -np.inf))[1] == -np.inf


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="24 draws are too few"):
        arviz.psis(np.zeros((24, 3)))


@only_1
def test_trap_psislw_of_log_weights_is_silently_excellent() -> None:
    raw = overconfident(4000, 1, 0.4)[:, 0]
    assert library_khat(raw) < 0 < 0.7 < library_khat(-raw)


@only_1
def test_trap_pareto_khat_does_not_exponentiate_log_weights() -> None:
    from arviz_stats.base import array_stats

    raw = overconfident(4000, 1, 0.4)[:, 0]
    found = array_stats.pareto_khat(raw[None], r_eff=1.0, log_weights=True)
    assert found == pytest.approx(array_stats.pareto_khat(raw[None], r_eff=1.0, tail="right"))
    assert found < arviz.psis(raw)[1] - 0.3


@only_1
def test_trap_constant_weights_raise() -> None:
    with pytest.raises(ValueError, match="same"):
        library_khat(np.zeros(1000))


def test_chains_that_agree_converge_and_chains_that_do_not_are_told() -> None:
    draws = RNG.normal(size=(4, 500, 2, 3))
    assert arviz.rhat(draws).shape == arviz.ess(draws).shape == (2, 3)
    assert arviz.rhat(draws).max() < 1.02
    assert arviz.ess(draws) == pytest.approx(2000, rel=0.3)
    draws[0, :, 1, 2] += 3
    assert arviz.rhat(draws)[1, 2] > 1.1
    assert arviz.ess(draws)[1, 2] < 100


def result() -> Any:
    hole = np.array([[1.0, np.nan], [3.0, 4.0], [5.0, 6.0]])
    groups = {
        "posterior": {"z": (("draw", "item", "latent"), RNG.normal(size=(10, 3, 2)))},
        "sample_stats": {"khat": (("item",), np.array([0.1, -np.inf, np.inf]))},
        "observed_data": {"rna": (("item", "rna_feature"), hole)},
        "constant_data": {"type": (("item",), np.array(["a", "b", "b"]))},
        "prior": {},
    }
    return arviz.inference_data(groups, {"item": ["x", "y", "w"], "rna_feature": ["CD3", "CD4"]})


def test_groups_dimensions_and_labels() -> None:
    data = result()
    assert isinstance(data, xr.DataTree if arviz.TREES else az.InferenceData)
    assert data["posterior"]["z"].dims == ("chain", "draw", "item", "latent")
    assert dict(data["posterior"].sizes) == {"chain": 1, "draw": 10, "item": 3, "latent": 2}
    assert list(data["observed_data"]["rna"].coords["rna_feature"].values) == ["CD3", "CD4"]
    assert list(data["posterior"]["latent"].values) == [0, 1]
    assert np.isnan(data["observed_data"]["rna"].sel(item="x", rna_feature="CD4"))
    assert "prior" not in (data.children if arviz.TREES else data.groups())


def test_arviz_summarises_the_result() -> None:
    assert len(az.summary(result(), var_names=["z"])) == 6


def test_netcdf_holds_everything(tmp_path: Path) -> None:
    data, path = result(), tmp_path / "run.nc"
    arviz.save(data, path)
    again = az.from_netcdf(str(path), engine="h5netcdf")
    for group in ("posterior", "sample_stats", "observed_data", "constant_data"):
        for name, array in data[group].data_vars.items():
            assert again[group][name].dims == array.dims
            assert np.array_equal(again[group][name].values, array.values, equal_nan=array.dtype.kind == "f")
        assert {k: list(v.values) for k, v in again[group].coords.items()} == {
            k: list(v.values) for k, v in data[group].coords.items()
        }


def test_zarr_is_written_where_it_is_installed(tmp_path: Path) -> None:
    if arviz.find_spec("zarr") is None:
        with pytest.raises(ValueError, match="needs the package zarr"):
            arviz.save(result(), tmp_path / "run.zarr")
    else:
        arviz.save(result(), tmp_path / "run.zarr")
        assert (tmp_path / "run.zarr").is_dir()


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"neither \.nc \(netCDF\) nor \.zarr"):
        arviz.save(result(), tmp_path / "run.csv")
