"""Label coherence: what judges that never saw an item read off its predictions, and off what was measured of it."""

from __future__ import annotations

from typing import Any

import linear_gaussian as lg
import numpy as np
import pytest

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, distribution, metrics, ops, pyro
from ppvae.inference.fitted import Fitted
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

RNG = np.random.default_rng(0)
BACKENDS = list(lg.BACKENDS)

# One latent: a and b show it, c shows nothing of it; hardly any noise.
TOLD = lg.LinearGaussian(
    weights={"a": np.array([[1.0]]), "b": np.array([[-2.0]]), "c": np.array([[0.0]])},
    biases={name: np.zeros(1) for name in "abc"},
    scales={name: np.array([0.05]) for name in "abc"},
)


def told(items: int) -> Dataset:
    """Items of TOLD whose latent is far from zero, labelled by its sign."""
    values = TOLD.draw(3 * items, 1)
    far = np.flatnonzero(np.abs(values["a"][:, 0]) > 0.3)[:items]
    data = lg.dataset(TOLD, {name: array[far] for name, array in values.items()})
    return Dataset(data.arrays, labels={"sign": (data.arrays["a"][:, 0] > 0).astype(int)}, modalities=data.modalities)


def clear(classes: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and measurements far apart for each."""
    truth = np.arange(items) % classes
    return np.eye(classes)[truth] * 10 + RNG.normal(size=(items, classes)), truth


def test_what_was_made_is_read_by_judges_of_what_was_measured() -> None:
    real, truth = clear(3, 60)
    other = np.where(np.arange(60) < 15, (truth + 1) % 3, truth)
    found = metrics.crossed(Modality("x", (3,)), real, np.eye(3)[other] * 10.0, truth)
    assert (found.made.value, found.real.value) == (0.75, 1.0)
    assert 0.6 < found.made.low < 0.75 < found.made.high < 0.9
    assert (found.real.low, found.real.high) == (1.0, 1.0)


def test_a_judge_never_saw_what_it_reads() -> None:
    """Noise in more directions than items can be learned by heart, and tells nothing of others."""
    noise, truth = RNG.normal(size=(60, 200)), np.arange(60) % 2
    data = Dataset({"x": noise}, labels={"t": truth}, modalities=[Modality("x", (200,))])
    assert metrics.judges(data, "t").accuracy(data) == {"x": 1.0}
    found = metrics.crossed(Modality("x", (200,)), noise, noise, truth)
    assert found.made == found.real
    assert found.real.value < 0.75


def test_rare_labels_and_elements_that_nobody_knows_take_no_part() -> None:
    real, truth = clear(2, 40)
    plain = metrics.crossed(Modality("x", (2,)), real, real, truth)
    rare = np.concatenate([truth, [7] * 4])
    more = np.concatenate([real, RNG.normal(size=(4, 2))])
    wide = np.concatenate([more, RNG.normal(size=(44, 1))], 1)
    made = np.concatenate([more, np.full((44, 1), np.nan)], 1)
    assert metrics.crossed(Modality("x", (3,)), wide, made, rare) == plain
    names = np.array(["left", "right"])[truth]
    assert metrics.crossed(Modality("x", (2,)), real, real, names) == plain
    assert metrics.crossed(Modality("x", (2,)), real, real, np.arange(40)) is None
    assert metrics.crossed(Modality("x", (2,)), real, real * np.nan, truth) is None
    assert metrics.crossed(Modality("x", (2,)), real[:0], real[:0], truth[:0]) is None


def test_texts_are_read_by_their_tokens() -> None:
    truth = np.arange(40) % 2
    texts = np.where(truth[:, None], [4, 3, 0], [6, 3, 0])
    between = np.where((truth ^ (np.arange(40) < 10))[:, None], [4, 3, 0], [6, 3, 0])
    text = Modality("x", (3,), "autoregressive", levels=8, kind="text")
    found = metrics.crossed(text, texts, between, truth)
    assert (found.made.value, found.real.value) == (0.75, 1.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_labels_are_read_where_something_tells_them(backend: str) -> None:
    exact, rows = lg.fitted(TOLD, lg.product(TOLD), backend), told(80)
    sign = rows.labels["sign"]
    labels = {"sign": sign, "half": np.where(np.arange(80) < 40, sign, np.nan), "number": np.arange(80)}
    data = Dataset(rows.arrays, labels=labels, modalities=rows.modalities)
    found = metrics.label_coherences(exact, data)
    assert {name: list(each) for name, each in found.items()} == {name: ["sign", "half"] for name in "abc"}
    for name in "ab":
        assert found[name]["sign"].made.value == found[name]["sign"].real.value == 1.0
    assert found["c"]["sign"].real.value < 0.75
    blind = metrics.label_coherences(exact, data, given=["c"])
    assert max(blind[name]["sign"].made.value for name in "ab") < 0.75
    assert blind["a"]["sign"].real.value == 1.0


def test_items_that_show_nothing_and_parts_of_what_is_read_do_not_count() -> None:
    exact, rows = lg.fitted(TOLD, lg.product(TOLD), "pyro"), told(60)
    whole = np.arange(60) < 40
    holed = Dataset(rows.arrays, {"a": whole}, rows.labels, rows.modalities)
    found = metrics.label_coherences(exact, holed, given=["a"])
    assert {name: each["sign"].made.value for name, each in found.items() if name in "ab"} == {"a": 1.0, "b": 1.0}
    nothing = Dataset(rows.arrays, {"a": np.zeros(60, bool)}, rows.labels, rows.modalities)
    assert all(each == {} for each in metrics.label_coherences(exact, nothing, given=["a"]).values())
    assert metrics.label_coherences(exact, Dataset(rows.arrays, modalities=rows.modalities)) == {}


class Meanless(Program):
    """z ~ Normal(0, 1); x | z of a density that says no mean."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            loc = z[..., None]
            known = distribution(
                lambda draw: draw(dist.Normal(loc, 1.0)),
                lambda x: dist.Normal(loc, 1.0).log_prob(x).sum(-1),
                z.shape,
                (1,),
            )
            return pyro.sample("x", known, obs=batch.get("x"))


class Standard(Program):
    """q(z) = Normal(0, 1), whatever is given."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            return pyro.sample("z", dist.Normal(ops.zeros((batch.size,)), 1.0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_a_density_without_a_mean_it_is_said_that_it_is_not_judged(backend: str) -> None:
    data = Dataset({"x": RNG.normal(size=(12, 1))}, labels={"t": np.arange(12) % 2}, modalities=[Modality("x", (1,))])
    pair = Fitted(VAE(Meanless(), Standard()), list(data.modalities), Settings(backend=backend), [], Snapshot({}))
    with pytest.warns(UserWarning, match="predictions of x are not judged: .* 'x' was written without its mean; give"):
        assert metrics.label_coherences(pair, data) == {}


def test_one_modality_is_judged_by_what_is_made_of_itself() -> None:
    real, truth = clear(2, 20)
    data = Dataset({"x": real}, labels={"t": truth}, modalities=[Modality("x", (2,))])
    vae = ppvae.method("vae", data.modalities, latent=1, hidden=(4,))
    pair = Fitted(vae, list(data.modalities), Settings(backend="pyro"), [], Snapshot({}))
    assert list(metrics.label_coherences(pair, data)) == ["x"]
