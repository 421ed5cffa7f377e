"""ArviZ: named arrays, Pareto smoothing and convergence, the same on 0.2x and on 1.x; nothing else asks its version."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import xarray as xr
from scipy.special import logsumexp

TREES = int(az.__version__.split(".")[0]) >= 1  # 1.x holds results in DataTree, 0.x in its own InferenceData
THRESHOLD = 0.7  # of k-hat: above it, importance sampling is not to be trusted (Vehtari et al. 2024)
FEWEST = 25  # draws, so that the largest fifth holds the five that a Pareto tail is fitted to
FLAT = np.log(1.25)  # nats between the largest weight and the tail's end: less says nothing of the tail's shape
CONVERGED = 1.01  # the largest R-hat (Vehtari et al. 2021, "Rank-normalization, folding, and localization")
MADE = ("chain", "draw", "sample")  # dimensions that ArviZ makes

Groups = Mapping[str, Mapping[str, tuple[tuple[str, ...], Any]]]


def inference_data(groups: Groups, coords: Mapping[str, Any] | None = None) -> Any:
    """An ``InferenceData`` on ArviZ 0.2x, a ``DataTree`` on 1.x.

    Args:
        groups: group to name to ``(dimensions, array)``. An array whose first dimension is ``"draw"`` becomes the one
            chain that ArviZ expects. No variable may be named like a dimension, such as ``item`` or ``draw``: in every
            group it gets an underscore after its name.
        coords: dimension to labels; other dimensions count from 0.

    Raises:
        ValueError: coords name no dimension, or have not as many labels as that has entries.
    """
    groups = _apart(groups)
    _check_coords(groups, coords or {})
    found = {group: _dataset(arrays, coords or {}) for group, arrays in groups.items() if arrays}
    if TREES:
        return xr.DataTree.from_dict(found)
    from_groups: Any = az.InferenceData
    return from_groups(**found)


def _apart(groups: Groups) -> Groups:
    """The groups, with underscores after the names of variables that are also those of dimensions."""
    arrays = [(name, dims) for group in groups.values() for name, (dims, _) in group.items()]
    taken = {*MADE, *(dim for _, dims in arrays for dim in dims)}
    known, renamed = taken | {name for name, _ in arrays}, {}
    for name in sorted({name for name, _ in arrays if name in taken}):
        renamed[name] = name + "_" * next(n for n in itertools.count(1) if name + "_" * n not in known)
        known.add(renamed[name])
    return {group: {renamed.get(name, name): pair for name, pair in held.items()} for group, held in groups.items()}


def _dataset(arrays: Mapping[str, tuple[tuple[str, ...], Any]], coords: Mapping[str, Any]) -> xr.Dataset:
    variables = {name: _chained(dims, np.asarray(array)) for name, (dims, array) in arrays.items()}
    sizes = {dim: size for dims, array in variables.values() for dim, size in zip(dims, array.shape, strict=True)}
    return xr.Dataset(variables, {dim: coords.get(dim, np.arange(size)) for dim, size in sizes.items()})


def _check_coords(groups: Groups, coords: Mapping[str, Any]) -> None:
    arrays = [pair for group in groups.values() for pair in group.values()]
    sizes = {dim: size for dims, array in arrays for dim, size in zip(dims, np.shape(array), strict=True)}
    for dim, labels in coords.items():
        if dim not in sizes:
            raise ValueError(f"coords name {dim!r}, which is no dimension; choose among {', '.join(sizes)}")
        if len(labels) != sizes[dim]:
            raise ValueError(f"coords have {len(labels)} labels for {dim!r}, which has {sizes[dim]} entries")


def _chained(dims: tuple[str, ...], array: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    return (("chain", *dims), array[None]) if dims[:1] == ("draw",) else (dims, array)


def save(data: Any, path: str | Path) -> None:
    """Write what :func:`inference_data` returns: ``.nc`` as netCDF, ``.zarr`` as Zarr; ``arviz.from_netcdf`` reads it.

    Raises:
        ValueError: the name ends otherwise, or Zarr is not installed.
    """
    kind = Path(path).suffix
    if kind not in (".nc", ".zarr"):
        raise ValueError(f"{str(path)!r} ends in neither .nc (netCDF) nor .zarr: name the file so")
    if kind == ".zarr" and find_spec("zarr") is None:
        raise ValueError("writing .zarr needs the package zarr: install it, or write .nc")
    if kind == ".nc":
        data.to_netcdf(str(path), engine="h5netcdf")
    else:
        data.to_zarr(str(path))


def psis(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pareto smoothed importance sampling (Vehtari et al. 2024, "Pareto smoothed importance sampling").

    Args:
        log_weights: log target minus log proposal, ``(draws, ...)``, in nats, up to a constant.

    Returns:
        Smoothed log weights whose exponentials sum to one over draws, ``(draws, ...)``, and k-hat, ``(...)``: −inf
        where the largest weights, those that the tail is fitted to, are equal within a quarter, as all are for an exact
        posterior; +inf where a weight is NaN or infinite, where all are zero, and where no tail can be fitted.

    Raises:
        ValueError: fewer than 25 draws.
    """
    draws = len(log_weights)
    if draws < FEWEST:
        raise ValueError(f"{draws} draws are too few for k-hat; it needs {FEWEST} at the least, better 1,000")
    x = np.moveaxis(np.array(log_weights, np.float64), 0, -1)
    top = x.max(-1)
    broken = ~np.isfinite(top)
    x[broken] = np.nan
    tail = int(np.ceil(min(draws / 5, 3 * draws**0.5)))
    flat = top - np.partition(x, -tail - 1)[..., -tail - 1] < FLAT
    smooth, k = x - logsumexp(x, axis=-1, keepdims=True), np.where(broken, np.inf, -np.inf)
    fits = ~(broken | flat)
    if fits.any():
        smooth[fits], k[fits] = _psislw(x[fits])
    return np.moveaxis(smooth, -1, 0), np.where(np.isnan(k), np.inf, k)


def _psislw(log_weights: np.ndarray) -> tuple[Any, Any]:
    """Smoothed log weights and k-hat of rows ``(rows, draws)``; 1.x takes log ratios of proposal to target instead."""
    if not TREES:
        return az.psislw(log_weights)
    from arviz_stats.base import array_stats

    return array_stats.psislw(-log_weights)


def rhat(draws: np.ndarray) -> np.ndarray:
    """Rank-normalised split R-hat (Vehtari et al. 2021) of ``(chains, draws, ...)``: ``(...)``."""
    return _convergence(az.rhat, draws)


def nested_rhat(draws: np.ndarray) -> np.ndarray:
    """Nested R-hat of many short chains, ``(superchains, chains, draws, ...)``: ``(...)``; 1 where all draws are equal.

    The chains of a superchain start at one point. The variance between superchains, which is what their starts still
    count for, beside that within them, which is that between their chains and that within these (Margossian et al.
    2024, "Nested R-hat: assessing the convergence of Markov chain Monte Carlo when running many short chains").

    Raises:
        ValueError: there are fewer than two superchains, chains in each, or draws in these.
    """
    if min(draws.shape[:3]) < 2:
        raise ValueError(f"nested R-hat needs two superchains of two chains of two draws, and is given {draws.shape}")
    chain = draws.mean(2)
    within = draws.var(2, ddof=1).mean((0, 1)) + chain.var(1, ddof=1).mean(0)
    between = chain.mean(1).var(0, ddof=1)
    with np.errstate(divide="ignore"):  # of chains that stand still, each elsewhere
        return np.sqrt(1 + between / np.where(between > 0, within, 1.0))


def ess(draws: np.ndarray) -> np.ndarray:
    """Bulk effective sample size (Vehtari et al. 2021) of ``(chains, draws, ...)``: ``(...)``."""
    return _convergence(az.ess, draws)


def _convergence(statistic: Any, draws: np.ndarray) -> np.ndarray:
    dims = ("chain", "draw", *(f"axis_{i}" for i in range(draws.ndim - 2)))
    return np.asarray(statistic(xr.Dataset({"x": (dims, draws)}))["x"])
