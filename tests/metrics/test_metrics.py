"""Metrics on pairs whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import linear_gaussian as lg
import numpy as np
import pytest

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, metrics, ops, pyro
from ppvae.inference.fitted import Fitted
from ppvae.metrics.classifiers import complete
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

BACKENDS = list(lg.BACKENDS)

# One latent: a shows it, b shows its opposite, c shows nothing of it; hardly any noise.
MIRRORED = lg.LinearGaussian(
    weights={"a": np.array([[1.0]]), "b": np.array([[-1.0]]), "c": np.array([[0.0]])},
    biases={"a": np.array([0.5]), "b": np.array([0.0]), "c": np.array([2.0])},
    scales={"a": np.array([0.05]), "b": np.array([0.05]), "c": np.array([0.05])},
)


def mirrored(items: int, seed: int) -> Dataset:
    """Items of MIRRORED whose latent is at least 0.3 from zero, labelled by its sign."""
    values = MIRRORED.draw(3 * items, seed)
    clear = np.flatnonzero(np.abs(values["a"][:, 0] - 0.5) > 0.3)[:items]
    data = lg.dataset(MIRRORED, {name: array[clear] for name, array in values.items()})
    return Dataset(data.arrays, labels={"sign": (data.arrays["a"][:, 0] > 0.5).astype(int)}, modalities=data.modalities)


@pytest.fixture(scope="module")
def train() -> Dataset:
    return mirrored(200, 0)


@pytest.fixture(scope="module")
def test() -> Dataset:
    return mirrored(60, 1)


@pytest.fixture(scope="module")
def judges(train: Dataset) -> metrics.Judges:
    return metrics.judges(train, "sign")


@pytest.fixture(scope="module", params=BACKENDS)
def exact(request) -> Fitted:
    return lg.fitted(MIRRORED, lg.product(MIRRORED), request.param)


def constant(judges: metrics.Judges, name: str, value: float) -> int:
    """What the judge of a modality says of a value."""
    return int(judges.read({name: np.array([[value]])})[name][0])


# Subsets


def test_shown_hides_everything_else_subset_by_subset() -> None:
    arrays = {"a": np.arange(6.0).reshape(3, 2), "b": np.ones((3, 1))}
    holes = {"a": np.array([[True, False], [True, True], [False, False]])}
    data = Dataset(arrays, holes, {"kind": np.array([0, 1, 2])}, likelihood={"a": "normal"})
    rows = metrics.shown(data, [["a"], ["b"], []])
    none = np.zeros((3, 2), bool)
    np.testing.assert_array_equal(rows.observed["a"], np.concatenate([holes["a"], none, none]))
    np.testing.assert_array_equal(rows.observed["b"], [False] * 3 + [True] * 3 + [False] * 3)
    np.testing.assert_array_equal(rows.labels["kind"], [0, 1, 2] * 3)
    np.testing.assert_array_equal(rows.arrays["a"][:2], [[0, 0], [2, 3]])
    assert rows.modalities == data.modalities
    np.testing.assert_array_equal(metrics.anything(rows), [True, True, False, True, True, True, False, False, False])


@pytest.mark.parametrize(
    ("subsets", "said"), [([], "no subset was given"), ([["a", "z"]], "name some of the data's modalities")]
)
def test_subsets_name_modalities_of_the_data(subsets: list[list[str]], said: str, train: Dataset) -> None:
    with pytest.raises(ValueError, match=said):
        metrics.shown(train, subsets)


def test_what_the_data_lack_no_item_has_all_of(train: Dataset) -> None:
    part = train.only(["a"])
    assert not complete(part, "b").any()
    assert list(metrics.judges(train, "sign").right(part)) == ["a"]


# Noiseless


@pytest.mark.parametrize("backend", BACKENDS)
def test_predictions_have_the_posterior_s_moments_and_no_noise(backend: str) -> None:
    truth = lg.orthogonal()
    values = truth.draw(3, seed=2)
    fitted = lg.fitted(truth, lg.product(truth), backend)
    rows = metrics.shown(lg.dataset(truth, values), [["a", "c"]])
    drawn = metrics.predicted(fitted, rows, draws=4000)
    mean, cov = truth.posterior({name: values[name] for name in ("a", "c")})
    for name in truth.names:
        weight, found = truth.weights[name], drawn[name]
        assert found.shape == (4000, 3, len(weight))
        wanted = np.einsum("dk,nkl,el->nde", weight, cov, weight)
        error = np.sqrt(np.einsum("ndd->nd", wanted).max() / 4000)
        np.testing.assert_allclose(found.mean(0), mean @ weight.T + truth.biases[name], atol=5 * error)
        for item, covariance in enumerate(wanted):
            found_cov = np.cov(found[:, item], rowvar=False)
            np.testing.assert_allclose(found_cov, covariance, atol=8 * error * covariance.max() ** 0.5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_generated_items_have_the_prior_s_moments_and_no_noise(backend: str) -> None:
    truth = lg.orthogonal()
    made = metrics.generated(lg.fitted(truth, lg.product(truth), backend), 4000, ask=["c"], seed=3)
    assert list(made) == ["c"]
    np.testing.assert_allclose(made["c"].mean(0), truth.biases["c"], atol=0.1)
    np.testing.assert_allclose(np.cov(made["c"], rowvar=False), truth.weights["c"] @ truth.weights["c"].T, atol=0.2)


class Levels(Program):
    """``x ~ Categorical(probs)`` elementwise, whatever z."""

    def forward(self, batch):
        with batch.plate():
            pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            probs = ops.as_tensor([[0.5, 0.3, 0.2], [0.0, 0.0, 1.0]])
            return pyro.sample(
                "x", dist.Categorical(probs=probs).expand([batch.size, 2]).to_event(1), obs=batch.get("x")
            )


class Anywhere(Program):
    """``z ~ Normal(0, I)``."""

    def forward(self, batch):
        with batch.plate():
            pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_categorical_element_counts_as_its_expected_level(backend: str) -> None:
    modality = Modality("x", (2,), "categorical", levels=3)
    data = Dataset({"x": np.zeros((4, 2))}, modalities=[modality])
    fitted = Fitted(VAE(Levels(), Anywhere()), [modality], Settings(backend=backend), [], Snapshot({}))
    np.testing.assert_allclose(metrics.predicted(fitted, data, draws=3)["x"], np.full((3, 4, 2), [0.7, 2.0]), rtol=1e-6)
    np.testing.assert_allclose(metrics.generated(fitted, 5)["x"], np.full((5, 2), [0.7, 2.0]), rtol=1e-6)


def test_only_what_a_model_explains_can_be_asked(test: Dataset) -> None:
    with pytest.raises(ValueError, match="unknown modality 'z'; this run knows"):
        metrics.predicted(lg.fitted(MIRRORED, lg.product(MIRRORED), "pyro"), test, ask=["z"])


# Evidence


def test_conditional_evidence_is_that_of_the_oracle() -> None:
    truth = lg.general()
    values = lg.with_holes(truth.draw(12, seed=4), seed=5)
    for backend in BACKENDS:
        found = metrics.conditional_evidence(lg.fitted(truth, lg.Exact(truth), backend), lg.dataset(truth, values), 3)
        for name, evidence in found.items():
            rest = {other: array for other, array in values.items() if other != name}
            wanted = truth.evidence(values) - truth.evidence(rest)
            whole = ~np.isnan(values[name]).any(1)
            assert 0 < whole.sum() < 12
            np.testing.assert_allclose(evidence[whole], wanted[whole], rtol=1e-8, atol=1e-8)
            assert np.isnan(evidence[~whole]).all()


# Judges


class FirstElement:
    """Reads an item's first element."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> FirstElement:
        self.seen = len(x)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0]


def test_judges_see_whole_measurements_and_score_their_share() -> None:
    first = np.array([0.0, 1.0, 2.0, 3.0])
    arrays = {"a": np.stack([first, first], 1).reshape(4, 1, 2), "b": first[:, None]}
    observed = {"a": np.ones((4, 1, 2), bool), "b": np.array([True, True, False, True])}
    observed["a"][3, 0, 1] = False
    data = Dataset(arrays, observed, {"kind": np.array([0.0, 1.0, 0.0, 0.0])}, likelihood=dict.fromkeys("ab", "normal"))
    judges = metrics.judges(data, "kind", FirstElement)
    assert {name: judge.seen for name, judge in judges.classifiers.items()} == {"a": 3, "b": 3}
    assert judges.accuracy(data) == {"a": 2 / 3, "b": 2 / 3}


def test_clear_labels_are_read_without_error(judges: metrics.Judges, test: Dataset) -> None:
    scores = judges.accuracy(test)
    assert (scores["a"], scores["b"]) == (1.0, 1.0)
    assert scores["c"] < 0.8


def test_a_label_that_is_not_there_is_one_sentence(train: Dataset) -> None:
    with pytest.raises(ValueError, match="no label 'colour'; they have sign"):
        metrics.judges(train, "colour")


# Coherence


def test_coherence_is_whole_where_one_modality_tells_the_other(
    exact: Fitted, judges: metrics.Judges, test: Dataset
) -> None:
    found = metrics.coherence(exact, judges, test, given=["a"], draws=3)
    same = constant(judges, "c", 2.0) == test.labels["sign"]
    assert found == {"b": 1.0, "c": pytest.approx(same.mean())}


def test_coherence_is_chance_where_nothing_is_told(exact: Fitted, judges: metrics.Judges, test: Dataset) -> None:
    found = metrics.coherence(exact, judges, test, given=["c"], ask=["b"], draws=400)
    assert found["b"] == pytest.approx(0.5, abs=5 * np.sqrt(0.25 / (400 * 60)))


def test_many_subsets_at_once_are_each_of_them(exact: Fitted, judges: metrics.Judges, test: Dataset) -> None:
    subsets = [["a"], ["b", "c"], ["c"]]
    together = metrics.coherences(exact, judges, test, subsets, draws=2)
    assert together == [metrics.coherence(exact, judges, test, subset, draws=2) for subset in subsets]


def test_items_with_nothing_given_take_no_part(exact: Fitted, judges: metrics.Judges, test: Dataset) -> None:
    half = np.arange(60) < 30
    holed = Dataset(test.arrays, {"c": half}, test.labels, test.modalities)
    whole = metrics.coherence(exact, judges, test.take(half), given=["c"], draws=5)
    assert metrics.coherence(exact, judges, holed, given=["c"], draws=5) == whole


def test_what_is_given_cannot_be_asked(judges: metrics.Judges, test: Dataset) -> None:
    with pytest.raises(ValueError, match="'a' is given or unknown; ask for some of b, c"):
        metrics.coherence(lg.fitted(MIRRORED, lg.product(MIRRORED), "pyro"), judges, test, ["a"], ["a"])


def test_agreement_counts_items_and_pairs() -> None:
    read = {"a": np.array([0, 1, 2, 3]), "b": np.array([0, 1, 2, 0]), "c": np.array([0, 1, 0, 1])}
    assert metrics.agreement(read) == {"all": 0.5, "pairs": pytest.approx((3 + 2 + 2) / 12)}


def test_prior_coherence_of_a_model_that_says_the_same_twice(exact: Fitted, judges: metrics.Judges) -> None:
    pair = metrics.Judges("sign", {name: judges.classifiers[name] for name in ("a", "b")})
    modalities = [m for m in exact.modalities if m.name != "c"]
    agreed = metrics.prior_coherence(replace(exact, modalities=modalities), pair, items=500)
    assert agreed["all"] == agreed["pairs"] > 0.97  # the two judges draw the line at slightly different latents
    three = metrics.prior_coherence(exact, judges, items=500)
    made = judges.read(metrics.generated(exact, 500))
    assert three["all"] == np.mean((made["a"] == made["b"]) & (made["b"] == made["c"]))
    assert three["all"] == pytest.approx(0.5, abs=0.12)


# The prior fitted after training


def test_the_fitted_prior_generates_where_the_data_are() -> None:
    rng = np.random.default_rng(6)
    z = rng.choice([-3.0, 3.0], size=(300, 1)) + 0.1 * rng.normal(size=(300, 1))
    data = lg.dataset(MIRRORED, {"a": z + 0.5, "b": -z, "c": np.full((300, 1), 2.0)})
    own = lg.fitted(MIRRORED, lg.product(MIRRORED), "pyro")
    fitted = metrics.with_aggregate_prior(own, data, components=4, draws=3)
    made, before = (metrics.generated(run, 1000)["b"] for run in (fitted, own))
    assert np.mean(np.abs(np.abs(made) - 3.0) < 0.6) > 0.99
    assert abs(np.mean(made > 0) - np.mean(z < 0)) < 0.08
    assert np.mean(np.abs(np.abs(before) - 3.0) < 0.6) < 0.1
    rows = data.take(slice(5))
    np.testing.assert_array_equal(fitted.encode(rows, draws=2)["z"], own.encode(rows, draws=2)["z"])
    assert fitted.log_evidence(rows, particles=50).mean() > own.log_evidence(rows, particles=50).mean() + 3


def test_a_clustered_prior_can_be_replaced_too() -> None:
    data = ppvae.datasets.load("mfeat").take(slice(0, 2000, 40))
    small = Dataset({name: data.arrays[name] for name in ("kar", "mor")})
    vae = ppvae.method("cmvae", small.modalities, latent=2, private=1, hidden=(4,), clusters=3, draws=2)
    run = ppvae.fit(vae, small, backend="pyro", epochs=0)
    fitted = metrics.with_aggregate_prior(run, small, components=5, draws=2)
    assert fitted.vae.model.prior.loc.shape == (5, 2)
    assert {name: array.shape for name, array in metrics.generated(fitted, 7).items()} == {
        "kar": (7, 64),
        "mor": (7, 6),
    }


def test_a_model_without_a_prior_is_one_sentence() -> None:
    data = Dataset({"x": np.zeros((4, 2))})
    run = Fitted(VAE(Levels(), Anywhere()), data.modalities, Settings(backend="pyro"), [], Snapshot({}))
    with pytest.raises(ValueError, match="the model Levels keeps no prior"):
        metrics.with_aggregate_prior(run, data)


# Probes


def test_a_probe_reads_what_the_latent_holds(exact: Fitted, train: Dataset, test: Dataset) -> None:
    common = np.bincount(train.labels["sign"]).argmax()
    base = float(np.mean(test.labels["sign"] == common))
    whole, mirror, nothing = metrics.probes(exact, train, test, "sign", [["a", "b", "c"], ["b"], ["c"]], draws=5)
    assert whole == mirror == 1.0
    assert nothing == pytest.approx(base, abs=0.25)


def test_many_probes_at_once_are_each_of_them(train: Dataset, test: Dataset) -> None:
    run = lg.fitted(MIRRORED, lg.product(MIRRORED), "pyro")
    together = metrics.probes(run, train, test, "sign", [["a", "b", "c"], ["c"]], draws=3)
    assert together == [metrics.probe(run, train, test, "sign", given, draws=3) for given in (None, ["c"])]


def test_items_that_have_nothing_of_what_is_given_are_not_probed(train: Dataset, test: Dataset) -> None:
    half = {"b": np.arange(60) < 20}
    holed = Dataset(test.arrays, half, test.labels, test.modalities)
    exact = lg.fitted(MIRRORED, lg.product(MIRRORED), "pyro")
    assert metrics.probe(exact, train, holed, "sign", given=["b"]) == 1.0
