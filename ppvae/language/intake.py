"""Intake: the one door for data. What people call an array becomes native numbers, and where they were measured."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import torch

EXACT = 2**53  # up to here float64 holds every whole number
LARGEST = float(np.finfo(np.float32).max)
KINDS = {
    **dict.fromkeys("UST", "text"),
    "c": "complex numbers",
    "M": "dates",
    "m": "spans of time",
    "V": "records",
}

# What holds several modalities, or more than numbers, by its package or type, and the call that takes the numbers out.
RECIPES = {
    "anndata": 'ppvae.Dataset({"rna": adata.to_df()}), after adata = adata.to_memory() where it is backed',
    "mudata": "ppvae.Dataset({name: part.to_df() for name, part in mdata.mod.items()})",
    "xarray": 'ppvae.Dataset({"x": array.values})',
    **dict.fromkeys(("h5py", "zarr"), 'ppvae.Dataset({"x": file["x"][:]})'),
    "polars": 'ppvae.Dataset({"x": frame.to_numpy()})',
    "pyarrow": 'ppvae.Dataset({"x": table.to_pandas()})',
    "dask": 'ppvae.Dataset({"x": array.compute()})',
    "cupy": 'ppvae.Dataset({"x": array.get()})',
    "tensorflow": 'ppvae.Dataset({"x": tensor.numpy()})',
    "torch": 'ppvae.Dataset({"x": torch.stack([item for item, *_ in data])})',
    "pandas": 'ppvae.Dataset({"x": frame})',
    "PIL": 'ppvae.Dataset({"x": numpy.stack([numpy.asarray(picture) for picture in pictures])}), all of one size',
    "sklearn": 'ppvae.Dataset({"x": bunch.data}, labels={"y": bunch.target}), of load_...(as_frame=True) with names',
    "pathlib": "ppvae.data.read_npz(path)",
    "str": "ppvae.data.read_npz(path)",
    "list": 'ppvae.Dataset({"x": pandas.DataFrame(rows)})',
    "generator": 'ppvae.Dataset({"x": list(rows)})',
}
# What to do about values that are no numbers, and about single objects among them.
NAMES = (
    "a column of categories' names is a modality of its own, ppvae.Dataset({'x': frame['x'].astype('category')}); "
    "what only tells items apart belongs into ids or labels"
)
CURES = {
    "text": f"{NAMES}; numbers written as text become numbers by astype(float)",
    "complex numbers": "give x.real and x.imag, or abs(x)",
    "dates": "give the time since one of them, as (x - x.min()) / pandas.Timedelta('1D')",
    "spans of time": "give them in some unit, as x / pandas.Timedelta('1D')",
    "records": "give numpy.lib.recfunctions.structured_to_unstructured(x), or pandas.DataFrame(x)",
}
PERIODS = "make dates of them, x.dt.to_timestamp(), and give the time since one, (x - x.min()) / pandas.Timedelta('1D')"
OBJECTS = (
    *((str, CURES["text"]), (date, CURES["dates"]), (timedelta, CURES["spans of time"])),
    (Mapping, "give pandas.DataFrame(rows)"),
)
ANY = 'ppvae.Dataset({"x": array}), an array (items, *shape) of numbers for each modality'


def library(given: Any) -> str:
    """The package of an object's type, or of the first one above it that is known; its own name if it has none.

    What a package makes of pandas' or SciPy's kinds, such as views of a part, is theirs.
    """
    kinds = [kind.__module__.partition(".")[0] for kind in type(given).__mro__]
    own = type(given).__name__ if kinds[0] == "builtins" else kinds[0]
    taken = next((kind for kind in ("pandas", "scipy") if kind in kinds), None)
    return taken or next((kind for kind in kinds if kind in RECIPES), own)


def is_tensor(given: Any) -> bool:
    """Is this what a backend computes with: a torch tensor, a JAX array or what stands in for one?"""
    return isinstance(given, torch.Tensor) or library(given) in ("jax", "jaxlib", "ppvae")


def unsupported(what: str, given: Any) -> ValueError:
    """The sentence for an object that does not come through the door, with the call that does."""
    return ValueError(f"{what} cannot be a {type(given).__name__}; give {RECIPES.get(library(given), ANY)}")


def taken(what: str, given: Any, mask: Any = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers ``(items, *shape)`` with zeros in their holes, and where they were measured: None where everywhere.

    A hole is NaN, what is masked or missing in ``given`` itself, or False in ``mask``, of shape ``(items,)`` or that
    of the numbers. They come in C order, in a type that both backends compute with.

    Raises:
        ValueError: these are no numbers, one is infinite or too large for its type, or the mask does not fit.
    """
    values, seen = as_numbers(what, given)
    if mask is not None:
        mask = as_mask(what, mask, values.shape)
        seen = mask if seen is None else over(mask, values) & seen
    values, seen = fill(values, seen)
    values = _native(what, values)
    _check_range(what, values)
    return values, seen


def as_numbers(what: str, given: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """A NumPy array of numbers, and where they are not missing: None where NaN says it all.

    Takes arrays of any byte order, strides and width, masked ones, pandas' frames and series, SciPy's sparse arrays,
    tensors, JAX arrays and nested lists.

    Raises:
        ValueError: these are no numbers.
    """
    values, seen = _numpy(what, given)
    if values.dtype.kind == "O":
        values = _from_objects(what, values, seen)
    if values.dtype.kind == "V" and values.dtype.names is None and values.dtype.type is not np.void:
        values = values.astype(np.float32)  # bfloat16 and its kin
    if values.dtype.kind not in "biuf":
        kind = KINDS[values.dtype.kind]
        raise ValueError(f"{what} must be an array of numbers, not of {kind}{_cure(CURES.get(kind))}")
    if values.ndim == 0:
        raise ValueError(f"{what} must be an array of numbers (items, *shape), not a single one")
    return values, seen


def as_mask(what: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Booleans from a mask of numbers ``shape``: ``(items,)`` or that shape.

    Raises:
        ValueError: it is neither boolean nor of zeros and ones, or of another shape.
    """
    wrong = ValueError(
        f"the mask of {what} must be an array of booleans, True where measured, and holds something else"
    )
    try:
        values, seen = as_numbers(f"the mask of {what}", given)
    except ValueError:
        raise wrong from None
    if (seen is not None and not seen.all()) or not ((values == 0) | (values == 1)).all():
        raise wrong
    values = values[:, 0] if values.shape == (*shape, 1) else values
    if values.shape not in (shape[:1], shape):
        raise ValueError(f"{what}: a mask of shape {values.shape} fits neither the items nor the array, {shape}")
    return values.astype(bool)


def fill(array: np.ndarray, seen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """The array with zeros in its holes, NaN or not ``seen``, and where it was measured: None where everywhere."""
    if array.dtype.kind == "f" and (nan := np.isnan(array)).any():
        seen = ~nan if seen is None else over(seen, array) & ~nan
    if seen is None or seen.all():
        return array, None
    return np.where(over(seen, array), array, np.zeros((), array.dtype)), by_item(seen)


def by_item(mask: np.ndarray) -> np.ndarray:
    """One boolean an item where every item is wholly there or wholly missing."""
    rows = mask.reshape(len(mask), -1)
    return rows[:, 0].copy() if (rows == rows[:, :1]).all() else mask


def over(mask: Any, array: Any) -> Any:
    """A mask ``(items,)`` or ``(items, *shape)`` with as many axes as the array."""
    return mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))


def _numpy(what: str, given: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Any array as NumPy's, of whatever type, and where it says itself that something is there."""
    if isinstance(given, np.ma.MaskedArray) and given.dtype.names is None:
        return np.ma.getdata(given), ~np.ma.getmaskarray(given)
    if library(given) == "pandas" and hasattr(given, "isna"):
        return _from_pandas(what, given)
    if library(given) == "scipy" and hasattr(given, "toarray"):
        return given.toarray(), None
    if isinstance(given, torch.Tensor):
        return _from_tensor(what, given), None
    if isinstance(given, np.ndarray | np.generic | numbers.Number) or library(given) in ("jax", "jaxlib"):
        return np.asarray(given), None
    if not isinstance(given, list | tuple):
        raise unsupported(what, given)
    return _from_list(what, given)


def _from_tensor(what: str, given: torch.Tensor) -> np.ndarray:
    try:
        dense = given.detach().to_dense()
        return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy(force=True)
    except (RuntimeError, TypeError) as error:  # nested, quantised, of eight bits, or without elements
        raise ValueError(
            f"{what} is a tensor of {given.dtype} on the device {given.device} that NumPy cannot hold; "
            "give one of plain numbers, such as tensor.float().cpu(), padded with NaN where rows differ in length"
        ) from error


def _from_list(what: str, given: Any) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        if any(isinstance(row, np.ma.MaskedArray) for row in given):
            return _numpy(what, np.ma.array(given))
        return np.asarray(given), None
    except ValueError:  # rows differ in length, or some are not there
        rows = np.empty(len(given), object)
        for i, row in enumerate(given):
            rows[i] = row
        return rows, None


def _from_pandas(what: str, given: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """A frame at once where its columns are plain numbers, else column by column: a hole is a hole in any type."""
    if given.ndim == 2:
        if all(isinstance(kind, np.dtype) and kind.kind in "iuf" for kind in given.dtypes):
            return given.to_numpy(), None
        columns = [as_numbers(f"{what}, column {name!r}", given.iloc[:, i]) for i, name in enumerate(given.columns)]
        if several := [name for name, (values, _) in zip(given.columns, columns, strict=True) if values.ndim > 1]:
            raise ValueError(
                f"{what}, column {several[0]!r} holds several numbers a row; make the column a modality of its own"
            )
        there = [np.ones(len(given), bool) if mask is None else mask for _, mask in columns]
        return np.column_stack([values for values, _ in columns]), np.column_stack(there)
    kind = getattr(given.dtype, "numpy_dtype", None)
    if kind is None or kind.kind == "O":
        return np.asarray(given), None
    return given.to_numpy(dtype=kind, na_value=0), ~np.asarray(given.isna())


def _from_objects(what: str, values: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    """Numbers among Python objects, or rows of them; None and pandas' NA are NaN."""
    if any(isinstance(row, list | tuple | np.ndarray | torch.Tensor) for row in values.flat):
        return _from_rows(what, values)
    there = np.ones(values.shape, bool) if seen is None else seen
    pairs = zip(values.flat, there.flat, strict=True)
    return np.array([_number(what, x) if seen_here else np.nan for x, seen_here in pairs]).reshape(values.shape)


def _from_rows(what: str, rows: np.ndarray) -> np.ndarray:
    """Rows of one shape as one array; one that is missing is NaN."""
    found = [None if is_missing(row) else _holed(*as_numbers(what, row)) for row in rows.flat]
    shapes = {row.shape for row in found if row is not None}
    if len(shapes) > 1:
        raise _ragged(what)
    shape = shapes.pop()
    whole = [np.full(shape, np.nan) if row is None else row for row in found]
    return np.stack(whole).reshape(rows.shape + shape)


def _holed(array: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    """The array with NaN where it is not ``seen``."""
    return array if seen is None or seen.all() else np.where(seen, array, np.nan)


def is_missing(given: Any) -> bool:
    """Is a Python object one of those that say that nothing is there: None, pandas' NA and NaT, or NaN?"""
    if given is None or type(given).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(given, numbers.Real | Decimal) and given != given


def _number(what: str, given: Any) -> float:
    if is_missing(given):
        return np.nan
    if not isinstance(given, numbers.Real | np.bool_ | Decimal):
        raise ValueError(f"{what} must be an array of numbers, but holds {str(given)[:40]!r}; {_cure_of(given)}")
    if isinstance(given, numbers.Integral) and abs(int(given)) > EXACT:
        raise too_long(what)
    return float(given)


def _native(what: str, values: np.ndarray) -> np.ndarray:
    """The same numbers in C order and in a type that both backends compute with."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind in "iu":
        low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
        if max(-low, high) > EXACT:
            raise too_long(what)
        wraps = max(-low, high + 1) > 2**31  # in JAX, whose integers have 32 bits
        signed = f"i{min(2 * size, 8)}" if kind == "u" and size > 1 else f"{kind}{size}"  # torch lacks the others
        return np.asarray(values, np.float64 if wraps else signed, order="C")
    with np.errstate(over="ignore"):  # what float64 cannot hold becomes infinite, which is refused
        return np.asarray(values, bool if kind == "b" else f"f{min(max(size, 4), 8)}", order="C")


def _check_range(what: str, values: np.ndarray) -> None:
    """Raise ValueError where a number is not finite in float32."""
    bad = ~(np.abs(values) <= LARGEST) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    if bad.any():
        row, value = int(np.argwhere(bad)[0, 0]), values[bad][0]
        if np.isinf(value):
            raise ValueError(f"{what} holds infinite values, first in row {row}; mark what was not measured as NaN")
        raise ValueError(f"{what} holds {value:g} in row {row}, beyond what float32 can hold; rescale it")


def _cure_of(given: Any) -> str:
    """What to do about an object that is no number, among others."""
    if type(given).__name__ == "Period":
        return PERIODS
    known = next((cure for kind, cure in OBJECTS if isinstance(given, kind)), None)
    return known or f"give {RECIPES.get(library(given), ANY)}"


def _cure(advice: str | None) -> str:
    return f"; {advice}" if advice else ""


def _ragged(what: str) -> ValueError:
    return ValueError(f"{what} is ragged: its rows differ in length; fill them up with NaN and np.stack them")


def too_long(what: str) -> ValueError:
    """The sentence for whole numbers that no float holds."""
    return ValueError(
        f"{what} holds whole numbers above 2^53, which no float holds exactly; are these ids? leave them out"
    )
