"""Early stopping: when it ends, what it keeps, and that a run which was cut short ends with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppvae
from ppvae import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.runs.plan import Plan, Sites
from ppvae.runs.settings import Settings
from ppvae.training.early_stopping import best_epoch, held_out, overtrained, still_falls, stop_at, why_stop

BACKENDS = ("pyro", "numpyro")
SMALL = {"latent": 4, "hidden": (16,)}


def planar(items: int, seed: int) -> Dataset:
    """Items near a plane in twelve dimensions; a few of them are soon learned by heart."""
    plane = np.random.default_rng(9).normal(size=(2, 12))
    rng = np.random.default_rng(seed)
    return Dataset({"a": rng.normal(size=(items, 2)) @ plane + 0.3 * rng.normal(size=(items, 12))})


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planar(16, seed=1)


@pytest.fixture(scope="module")
def other() -> Dataset:
    return planar(30, seed=2)


def fit(data: Dataset, backend: str, method: str = "vae", **options: Any) -> Fitted:
    vae = ppvae.method(method, data.modalities, **SMALL)
    return ppvae.fit(vae, data, **{"backend": backend, "batch_size": 8, "lr": 0.02, "seed": 3, **options})


def assert_same(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]) -> None:
    assert one.keys() == two.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name], err_msg=name)


def plan(method: str = "vae", items: int = 100, **options: Any) -> Plan:
    vae = ppvae.method(method, [ppvae.Modality("a", (2,))], **SMALL)
    chosen = Settings(**options)
    return Plan(vae, chosen, Sites(frozenset("z")), items, max(items // chosen.batch_size, 1))


def epochs_until_it_stops(loss: Callable[[int], float], of: Plan, most: int = 3000) -> tuple[int, int]:
    """How many epochs a run with these held-out losses takes, and which of them it keeps."""
    history: list[dict[str, Any]] = []
    while why_stop(history, of) is None:
        entry = {"epoch": len(history) + 1, "validation_loss": loss(len(history) + 1)}
        history.append({**entry, "best_epoch": best_epoch(history, entry, of)})
        assert len(history) < most
    return len(history), history[-1]["best_epoch"] if history else 0


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_patience_is_counted_from_the_lowest_loss(losses: list[int], patience: int) -> None:
    done, best = epochs_until_it_stops(lambda epoch: losses[epoch - 1], plan(epochs=len(losses), patience=patience))
    seen = losses[:done]
    assert best == 1 + seen.index(min(seen))
    assert done == len(losses) or done - best == patience
    for fewer in range(1, done):
        assert fewer - (1 + losses[:fewer].index(min(losses[:fewer]))) < patience


@pytest.mark.parametrize(("items", "steps"), [(300, 10), (2_000, 10), (2_000, 50), (30_000, 50), (30_000, 1_000)])
def test_auto_goes_on_while_the_loss_falls_and_not_for_long_after(items: int, steps: int) -> None:
    """Losses that approach their end as slowly as 1 / time, for ever or until they rise, are ended within 1 % of it."""
    of = plan(items=items, epochs="auto")
    rate = of.steps / steps

    def falling(epoch: int) -> float:
        return 1000 + 500 / (1 + rate * epoch)

    done, _ = epochs_until_it_stops(falling, of)
    assert falling(done) < 1.01 * 1000
    turn = max(int(20 / rate), 1)
    done, best = epochs_until_it_stops(lambda epoch: falling(min(epoch, turn)) + max(epoch - turn, 0) * rate, of)
    assert best == turn
    assert done <= max(1.34 * turn, turn + 10, turn + 200 / of.steps) + 1


@pytest.mark.parametrize("options", [{"epochs": "auto"}, {"epochs": 500, "patience": 3}])
def test_what_a_warm_up_does_to_the_loss_does_not_stop_it(options: dict[str, Any]) -> None:
    of = plan(kl_warmup=29.5, items=5_000, **options)
    done, best = epochs_until_it_stops(lambda epoch: 100 + epoch if epoch <= 30 else 200 + abs(epoch - 60), of)
    assert best == 60
    assert done <= 80


def test_an_objective_in_stages_is_watched_in_the_last() -> None:
    of = plan("telbo", epochs=100, patience=5)
    assert epochs_until_it_stops(lambda epoch: epoch if epoch <= 50 else 1000 + abs(epoch - 60), of) == (65, 60)


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [("telbo", {}, "the objective has stages"), ("mvae", {"schedule": "cosine"}, "schedule 'cosine' spreads over")],
)
def test_auto_is_refused_where_the_number_matters(
    method: str, options: dict[str, Any], said: str, data: Dataset
) -> None:
    with pytest.raises(ValueError, match=f"epochs cannot be 'auto' here: {said}.*; give a number"):
        fit(data, "pyro", method, epochs="auto", **options)


@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_the_best_epoch_is_kept_to_the_bit_and_a_run_cut_short_ends_alike(
    backend: str, data: Dataset, other: Dataset, tmp_path: Path
) -> None:
    options = {"patience": 4, "epochs": 200, "validation": other}
    whole = fit(data, backend, out=tmp_path / "whole", **options)
    losses, best = [entry["validation_loss"] for entry in whole.history], whole.history[-1]["best_epoch"]
    assert best == 1 + int(np.argmin(losses)) == len(losses) - 4
    assert whole.notes["stopped"] == (
        "the held-out loss fell no further in the last 4 epochs; "
        f"kept are the weights of epoch {best}, with the lowest held-out loss"
    )
    assert_same(ppvae.load(tmp_path / "whole").vae.pair.state_dict(), whole.snapshot.weights)

    def cut(entry: Mapping[str, Any]) -> None:
        if entry["epoch"] == best + 2:
            raise GeneratorExit  # like Ctrl-C no Exception, but pytest's workers do not end by it

    with pytest.raises(GeneratorExit):
        fit(data, backend, out=tmp_path / "cut", callbacks=[cut], **options)
    assert ppvae.load(tmp_path / "cut").notes["stopped"] == "it was interrupted"
    on = fit(data, backend, out=tmp_path / "cut", resume=True, **options)
    assert [entry["validation_loss"] for entry in on.history] == losses
    assert on.notes["stopped"] == whole.notes["stopped"]
    weights = "weights.safetensors"
    assert (tmp_path / "cut" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    if backend == "pyro":
        assert_same(fit(data, backend, epochs=best).snapshot.weights, whole.snapshot.weights)
        longer = fit(data, backend, out=tmp_path / "cut", resume=True, **{**options, "patience": 6})
        on = fit(data, backend, epochs=len(longer.history))
        assert_same(on.snapshot.weights, longer.snapshot.latest.weights)


def test_a_tenth_drawn_from_the_seed_takes_no_part_in_training(data: Dataset) -> None:
    watched = held_out(np.ones(len(data)), seed=3)
    train, tenth = data.take(~watched), data.take(watched)
    assert (len(train), len(tenth)) == (14, 2)
    assert set(train.keys) | set(tenth.keys) == set(data.keys)
    assert (watched != held_out(np.ones(len(data)), seed=4)).any()
    run = fit(data, "pyro", epochs=3, patience=3)
    alone = fit(train, "pyro", epochs=3, validation=tenth)
    assert_same(alone.snapshot.weights, run.snapshot.latest.weights)
    assert [e["validation_loss"] for e in alone.history] == [e["validation_loss"] for e in run.history]
    with pytest.raises(ValueError, match="one item cannot be split"):
        fit(data.take([0]), "pyro", patience=3)


def test_other_held_out_items_cannot_go_on_choosing(data: Dataset, other: Dataset, tmp_path: Path) -> None:
    fit(data, "pyro", epochs=2, patience=9, out=tmp_path)
    with pytest.raises(ValueError, match="this run watched other held-out items"):
        fit(data, "pyro", epochs=3, patience=9, out=tmp_path, resume=True, validation=other)
    assert len(fit(data, "pyro", epochs=3, patience=9, out=tmp_path, resume=True).history) == 3


def test_a_callback_stops_training_by_returning_true(data: Dataset) -> None:
    run = fit(data, "pyro", epochs=9, callbacks=[lambda entry: entry["epoch"], lambda entry: entry["epoch"] == 2])
    assert len(run.history) == 2
    assert run.notes["stopped"] == "a callback asked for it"


def history(losses: np.ndarray, **more: Any) -> list[dict[str, Any]]:
    return [{"epoch": i + 1, "loss": 0.0, "validation_loss": float(loss), **more} for i, loss in enumerate(losses)]


def test_a_rising_loss_is_said_in_words_and_noise_is_not() -> None:
    epochs, rng = np.arange(300), np.random.default_rng(0)
    falling = 50 + 100 * np.exp(-epochs / 10)
    risen = np.where(epochs < 60, falling, falling[59] + (epochs - 59))
    assert "rose from 50.27 after epoch 60 to 288.3" in (overtrained(history(risen)) or "")
    assert "stop at epoch 60" in (overtrained(history(risen)) or "")
    assert stop_at(history(risen)) == 60
    assert "rose" in (overtrained(history(risen + rng.normal(0, 1, 300))) or "")
    assert overtrained(history(risen, best_epoch=60)) is None
    assert overtrained(history(risen[:60])) is None
    assert overtrained([{"epoch": 1, "loss": 1.0}] * 20) is None
    for _ in range(50):
        assert overtrained(history(falling + rng.normal(0, 1, 300))) is None
    assert overtrained(history(falling[:3])) is None
    late = np.concatenate([np.full(20, 100.0), 100 - 10 * np.arange(1, 11)])  # a fall that begins late, and goes on
    assert overtrained(history(late)) is None


def test_a_loss_still_falls_where_the_last_quarter_is_lower_by_more_than_noise() -> None:
    epochs, rng = np.arange(1, 101), np.random.default_rng(0)
    fell = [{"epoch": n, "loss": float(loss)} for n, loss in enumerate(100 / epochs + rng.normal(0, 0.1, 100), 1)]
    assert still_falls([{"epoch": n, "loss": -float(n)} for n in epochs])
    assert not still_falls(fell)
    assert still_falls(fell[:20])
    assert not still_falls([{**entry, "validation_loss": float(entry["epoch"])} for entry in fell[:20]])
    assert not still_falls(fell[:1])


def test_training_that_ends_while_the_weight_of_latents_grows_is_told(data: Dataset, capsys) -> None:
    fit(data, "pyro", epochs=3, kl_warmup=12, beta=2.0)
    assert "after 3 of the 12 epochs over which kl_warmup raises the weight of latents, at 0.5 of 2:" in (
        capsys.readouterr().err
    )
    fit(data, "pyro", epochs=3, kl_warmup=3)
    assert "kl_warmup" not in capsys.readouterr().err


def test_the_sentence_is_printed_where_training_ends(data: Dataset, other: Dataset, capsys) -> None:
    run = fit(data, "pyro", epochs=100, validation=other)
    sentence = overtrained(run.history)
    assert sentence
    assert sentence in capsys.readouterr().err
