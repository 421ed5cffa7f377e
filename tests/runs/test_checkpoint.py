"""A run folder: its two files belong together, and whatever is wrong with them is found before anything is built."""

import json
import os
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_folders import RUN, WEIGHTS, data_set, fit, forge, put_run, put_weights, weights

import ppvae
from ppvae.inference.fitted import Fitted
from ppvae.runs.snapshot import Snapshot


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of one run after 1 and 3 epochs, of one that parted from it after the first, and of another one."""
    place, data = tmp_path_factory.mktemp("moments"), data_set()
    fit(data, 1, place / "early")
    for name, options in {"late": {}, "parted": {"lr": 0.01}}.items():
        shutil.copytree(place / "early", place / name)
        fit(data, 3, place / name, resume=True, **options)
    fit(data, 3, place / "other", seed=6)
    return {path.name: path for path in place.iterdir()}


@pytest.fixture
def run(moments: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(moments["late"], tmp_path / "run"))


def refusal(run: Path) -> str:
    with pytest.raises(ValueError, match=str(run)) as caught:
        ppvae.load(run)
    assert str(caught.value).count("\n") == 0
    return str(caught.value)


def mixed(place: Path, of_weights: Path, of_run: Path) -> Path:
    place.mkdir()
    shutil.copy(of_weights / WEIGHTS, place)
    shutil.copy(of_run / RUN, place)
    return place


def test_both_files_carry_the_id_of_the_run_and_a_checksum(moments: dict[str, Path]) -> None:
    plain = {name: json.loads((path / RUN).read_text()) for name, path in moments.items()}
    marks = {name: weights(path)[1] for name, path in moments.items()}
    for name in moments:
        assert (plain[name]["id"], plain[name]["checksum"]) == (marks[name]["id"], marks[name]["history"])
        assert marks[name]["step"] == 3 * marks[name]["epochs"]
    assert plain["early"]["id"] == plain["late"]["id"] == plain["parted"]["id"] != plain["other"]["id"]
    assert len({told["tensors"] for told in marks.values()}) == 4


@pytest.mark.parametrize(("one", "two"), [("late", "early"), ("late", "other"), ("other", "late"), ("late", "parted")])
def test_files_of_two_runs_or_moments_are_no_run(one: str, two: str, moments: dict[str, Path], tmp_path: Path) -> None:
    assert "not of one run, or not of one moment" in refusal(mixed(tmp_path / "mix", moments[one], moments[two]))


def test_weights_of_an_earlier_moment_are_the_run_at_that_moment(moments: dict[str, Path], tmp_path: Path) -> None:
    """What is left where a process dies between its two files goes on to the same bits."""
    half = mixed(tmp_path / "half", moments["early"], moments["late"])
    assert [entry["epoch"] for entry in ppvae.load(half).history] == [1]
    fit(data_set(), 3, half, resume=True)
    assert (half / WEIGHTS).read_bytes() == (moments["late"] / WEIGHTS).read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"step": 10},
        {"step": None},
        {"step": 9.0},
        {"epochs": 2},
        {"epochs": -1},
        {"epochs": 10**30},
        {"id": "x"},
        {"history": ""},
        {"tensors": ""},
        {"more": 1},
    ],
    ids=str,
)
def test_marks_that_were_changed(change: dict, run: Path) -> None:
    tensors, marks = weights(run)
    put_weights(run, tensors, {**marks, **change})
    assert "Error" not in refusal(run)
    put_weights(run, tensors, {name: value for name, value in marks.items() if name not in change or name == "more"})
    if "more" not in change:
        assert "damaged" in refusal(run)


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["history"].pop(),
        lambda plain: plain["history"].pop(0),
        lambda plain: plain["history"][1].update(loss=0.0),
        lambda plain: plain["settings"].update(batch_size=21),
        lambda plain: plain["recipe"]["options"].update(latent=3),
        lambda plain: plain["modalities"].reverse(),
        lambda plain: plain["notes"].update(order=3),
        lambda plain: plain.pop("id"),
    ],
)
def test_a_description_that_was_changed(change: Callable[[dict], object], run: Path) -> None:
    plain = json.loads((run / RUN).read_text())
    change(plain)
    put_run(run, plain)
    assert "damaged" in refusal(run)


def test_notes_may_be_added_by_hand(run: Path) -> None:
    plain = json.loads((run / RUN).read_text())
    plain["notes"]["remark"] = {"kept": [True]}
    put_run(run, plain)
    assert ppvae.load(run).notes["remark"] == {"kept": [True]}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"notes": {', '"notes": {"x": NaN, '),
        ('"notes": {', '"notes": {"x": -Infinity, '),
        ('"notes": {', '"notes": {"x": 1e999, '),
        ('"notes": {', '"notes": {"x": 1, "x": 1, '),
        ('"notes": {', '"notes": {"x": ' + "9" * 5000 + ", "),
        ('"notes": {', '"notes": {"x": ' + "[" * 10_000 + "]" * 10_000 + ", "),
        ('"notes": {', '"notes": {"data_set": 3, '),
        ('"notes": {', '"notes": {"options": [], '),
        ('"notes": {', '"notes": {"holdout": {"fraction": 2, "seed": 0}, '),
        ('"seed": 5', '"seed": "5"'),
        ('"seed": 5', '"seed": 5.0'),
        ('"seed": 5', '"seed": true'),
        ('"format": 2', '"format": 3'),
    ],
)
def test_json_that_is_not_what_was_written(old: str, new: str, run: Path) -> None:
    text = (run / RUN).read_text()
    assert old in text
    (run / RUN).write_text(text.replace(old, new))
    assert "damaged" in refusal(run)


def test_a_description_of_a_terabyte_is_not_read(run: Path) -> None:
    os.truncate(run / RUN, 2**40)
    assert "more than 67108864 bytes" in refusal(run)


def test_format_1_is_named(run: Path) -> None:
    tensors, marks = weights(run)
    put_weights(run, tensors, {"epochs": marks["epochs"], "step": marks["step"]})
    plain = json.loads((run / RUN).read_text())
    put_run(run, {**{k: v for k, v in plain.items() if k not in ("id", "checksum")}, "format": 1})
    assert "written by an earlier ppvae, as format 1, which is no longer read: train again" in refusal(run)


@pytest.mark.parametrize("name", [RUN, WEIGHTS])
@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "/dev/zero", "/dev/full", "/dev/stdin"])
def test_only_regular_files_are_opened(kind: str, name: str, run: Path) -> None:
    (run / name).unlink()
    if kind == "pipe":
        os.mkfifo(run / name)
    elif kind == "folder":
        (run / name).mkdir()
    else:
        (run / name).symlink_to(run / name if kind == "loop" else kind)
    assert "damaged" in refusal(run)


def test_a_link_to_a_run_is_a_run(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run)
    assert len(ppvae.load(tmp_path / "link").history) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["modalities"][0].update(shape=[10**9]),
        lambda plain: plain["modalities"][0].update(shape=[10**15, 10**15]),
        lambda plain: plain["recipe"]["options"].update(latent=10**9),
        lambda plain: plain["recipe"]["options"].update(hidden=[10**6, 10**6]),
        lambda plain: plain["recipe"]["options"].update(hidden=[8] * 50),
        lambda plain: plain["modalities"].append({**plain["modalities"][0], "name": "c"}),
    ],
)
def test_sizes_are_compared_with_the_weights_before_networks_are_made(
    change: Callable[[dict], object], run: Path
) -> None:
    forge(run, lambda plain, tensors: change(plain))
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "do not fit these programs" in refusal(run) or "is damaged" in refusal(run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # KiB
    assert time.perf_counter() - begin < 20


WEIGHT, MEAN, SQUARES = (f"{group}/model.likelihoods.a.decoder.0.weight" for group in ("weights", "mu", "nu"))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors[WEIGHT].put(0, np.nan),
        lambda tensors: tensors[WEIGHT].put(3, np.inf),
        lambda tensors: tensors[MEAN].put(0, np.nan),
        lambda tensors: tensors[SQUARES].put(0, -1e-9),
        lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT].astype(np.float64)}),
        lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT].astype(np.float16)}),
        lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT].astype(np.int32)}),
        lambda tensors: tensors.update({MEAN: tensors[MEAN].astype(np.float64)}),
        lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT].T.copy()}),
        lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT][:0]}),
        lambda tensors: tensors.update({WEIGHT: np.float32(0)[None][0:1].reshape(())}),
        lambda tensors: tensors.update({"weights/more": np.zeros(2, np.float32)}),
        lambda tensors: tensors.update({"more/more": np.zeros(2, np.float32)}),
        lambda tensors: tensors.update({"more": np.zeros(2, np.float32)}),
        lambda tensors: tensors.pop(WEIGHT),
        lambda tensors: tensors.pop(SQUARES),
        lambda tensors: tensors.clear(),
    ],
)
def test_tensors_that_are_not_what_training_leaves(change: Callable[[dict], object], run: Path) -> None:
    before = weights(run)
    forge(run, lambda plain, tensors: change(tensors))
    assert "damaged" in (said := refusal(run)) or "do not fit these programs" in said
    tensors = dict(before[0])
    change(tensors)
    put_weights(run, tensors, before[1])
    assert "damaged" in (said := refusal(run)) or "do not fit these programs" in said


@pytest.mark.parametrize("size", [0, 7, 8, 100])
def test_headers_that_promise_too_much(size: int, run: Path) -> None:
    whole = (run / WEIGHTS).read_bytes()
    for start in (b"\xff" * 8, (2**40).to_bytes(8, "little"), (len(whole) * 2).to_bytes(8, "little")):
        (run / WEIGHTS).write_bytes((start + whole[8:])[: size or None])
        assert "damaged" in refusal(run)


def test_every_byte_of_the_tensors_counts(run: Path) -> None:
    whole = (run / WEIGHTS).read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    for place in np.linspace(begin, len(whole) - 1, 8).astype(int):
        (run / WEIGHTS).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert "does not have its checksum" in refusal(run)


@pytest.fixture(scope="module")
def fitted(moments: dict[str, Path]) -> Fitted:
    return ppvae.load(moments["late"])


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ({"x": object()}, "JSON"),
        ({"x": float("nan")}, "JSON"),
        ({"data_set": 3}, "notes.data_set: input should be a valid string"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(notes: dict, said: str, fitted: Fitted, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"cannot be saved: .*{said}"):
        replace(fitted, notes=notes).save(tmp_path / "run")
    with pytest.raises(ValueError, match=f"cannot be (saved|kept).*{said}"):
        fit(data_set(), 1, tmp_path / "run", notes=notes)
    assert not (tmp_path / "run").exists()


def test_weights_without_history_or_optimiser_are_kept(fitted: Fitted, tmp_path: Path) -> None:
    replace(fitted, snapshot=Snapshot(fitted.snapshot.weights), history=[]).save(tmp_path)
    loaded = ppvae.load(tmp_path)
    assert (loaded.snapshot.step, loaded.snapshot.moments, loaded.history) == (0, {}, [])
