"""Sweeps: what the file may say, what arrives in runs, and what several processes, killed ones too, leave behind."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from sweep_harness import start, trials, write, write_data

from ppvae import cli
from ppvae.cli.sweeps import journal
from ppvae.runs import checkpoint


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_data()


def swept(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main(["sweep", "s.toml", *words, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def described(number: int, folder: str = "s") -> Any:
    return checkpoint.opened(Path(folder, f"trial-{number}")).description


def test_what_is_searched_arrives_in_runs_and_the_best_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    write(6, 2)
    answer = swept(capsys)
    assert {name: answer[name] for name in ("finished", "pruned", "failed", "running")} == {
        "finished": 6,
        "pruned": 0,
        "failed": 0,
        "running": 0,
    }
    values = {}
    for trial in trials():
        run = described(trial.number)
        assert run.settings.lr == trial.params["lr"]
        assert run.notes.options == {"latent": trial.params["latent"], "hidden": json.loads(trial.params["hidden"])}
        assert (run.settings.backend, run.settings.epochs, run.settings.batch_size) == ("pyro", 2, 16)
        assert 1e-4 <= run.settings.lr <= 1e-1
        assert run.notes.options["latent"] in (2, 4, 6)
        values[f"s/trial-{trial.number}"] = -min(entry.validation_loss for entry in run.history)
    best = sorted(values, key=lambda run: -values[run])[:5]
    assert [row["run"] for row in answer["best"]] == best
    assert [row["objective"] for row in answer["best"]] == [values[run] for run in best]
    assert answer["next"] == f"ppvae report {best[0]}"
    assert cli.main(["evaluate", best[0], "--particles", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == 10, "the rows held out, which no trial was chosen by"


def test_typed_again_it_goes_on_and_trials_depend_on_the_seed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    write(2)
    swept(capsys)
    write(4)
    assert swept(capsys)["finished"] == 4
    assert swept(capsys, "--out", "at-once")["finished"] == 4
    assert [trial.params for trial in trials()] == [trial.params for trial in trials("at-once")]
    assert [trial.value for trial in trials()] == [trial.value for trial in trials("at-once")]
    assert cli.main(["sweep", "s.toml"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["run", "objective", "epochs", "lr", "latent", "hidden"]
    assert said[-2:] == ["trials: 4 finished, 0 pruned, 0 failed, 0 running", f"ppvae report {said[1].split()[0]}"]
    write(4, 1, ("trials", "seed = 1\ntrials"))
    swept(capsys, "--out", "another-seed")
    assert trials()[0].params != trials("another-seed")[0].params
    assert cli.main(["sweep", "s.toml"]) == 2
    assert "the sweep in 's' was begun with other seed: choose another --out" in capsys.readouterr().err


def test_a_trial_that_diverges_has_failed_and_the_next_one_begins(capsys: pytest.CaptureFixture[str]) -> None:
    write(
        4, 2, ("{low = 1e-4, high = 1e-1, log = true}", "[1e-3, 1e17]"), ("[options]", '[options]\noptimizer = "sgd"')
    )
    answer = swept(capsys)
    assert answer["failed"] > 0
    assert answer["failed"] + answer["finished"] == 4
    for trial in trials():
        assert (trial.state.name == "FAIL") == (trial.params["lr"] == "1e+17")
        assert ("lower lr" in trial.user_attrs.get("failed", "")) == (trial.state.name == "FAIL")
    write(2, 2, ("{low = 1e-4, high = 1e-1, log = true}", "[1e17]"), ("[options]", '[options]\noptimizer = "sgd"'))
    assert cli.main(["sweep", "s.toml", "--out", "none"]) == 2
    assert "every trial failed, the first with" in capsys.readouterr().err


def test_a_trial_below_the_median_is_pruned(capsys: pytest.CaptureFixture[str]) -> None:
    changes = ("{low = 1e-4, high = 1e-1, log = true}", "[1e-2, 1e-9]"), ("latent = {low = 2, high = 6, step = 2}", "")
    write(8, 12, *changes, ("[[8], [4, 4]]", "[[8]]"))
    assert swept(capsys)["pruned"] > 0
    for trial in trials():
        entries = described(trial.number).history
        assert [-entry.validation_loss for entry in entries] == list(trial.intermediate_values.values())
        if trial.state.name == "PRUNED":
            assert trial.params["lr"] == "1e-09"
            assert len(entries) == journal.FREE
        else:
            assert len(entries) == 12


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("trials = 3", "", "the key trials is missing"),
        ("trials = 3", 'trials = "3"', "trials is '3': input should be a valid integer"),
        ("trials = 3", "trials = 0", "trials is 0: input should be greater than or equal to 1"),
        ("trials = 3", "trials = 3\ntrails = 4", "there is no key trails; is it misspelled?"),
        ("trials = 3", "trials = 3\nholdout = 1.0", "holdout is 1.0: input should be less than 1"),
        ("step = 2", "steps = 2", "there is no key search.latent.steps; is it misspelled?"),
        ("low = 2, ", "", "the key search.latent.low is missing"),
        ("low = 2", 'low = "2"', "search.latent.low is '2': give a number"),
        ("low = 2", "low = 7", "search.latent: `low <= high` must hold"),
        ("step = 2", "step = 3", "search.latent: The distribution is specified by [2, 6] and step=3"),
        ("step = 2", "step = 2, log = true", "search.latent: "),
        ("low = 1e-4", "low = 0", "search.lr: `low > 0` must hold"),
        ("low = 1e-4", "low = -inf", "search.lr.low is -inf: give a number"),
        ("high = 1e-1", "high = 1e20", "with lr = 1e+20: setting 'lr' is 1e+20"),
        ("[[8], [4, 4]]", "[]", "search.hidden is []: list should have at least 1 item"),
        ("[[8], [4, 4]]", "8", "search.hidden is 8: give a list of choices, or {low = ..., high = ...}"),
        ("[[8], [4, 4]]", "[[8], 'x']", "with hidden = 'x': "),
        ("hidden = [[8], [4, 4]]", "hiden = [8]", "there is no setting or option 'hiden'"),
        ("hidden = [[8], [4, 4]]", "seed = [1, 2]", "seed draws the rows that trials are compared on, so it cannot be"),
        ("hidden = [[8], [4, 4]]", "beta = [1, 2]", "beta is a weight in the loss that they are compared by, so it"),
        ("hidden = [[8], [4, 4]]", "epochs = [1]", "epochs is in [options] too: leave it in one of them"),
        ("epochs = 1", "epochs = 0", "epochs is 0, but trials are compared by the loss after an epoch"),
        ("mvae", "mvea", "mvea"),
        ("mvae", "jnf", "jnf is trained in stages, and the loss of the last says nothing of the others"),
        ("data.npz", "nope.npz", "there is no data file 'nope.npz'"),
        ("[search]", "[search", "cannot read 's.toml' as TOML"),
    ],
)
def test_a_mistake_is_one_sentence_before_any_trial(
    old: str, new: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(3, 1, (old, new))
    assert cli.main(["sweep", "s.toml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err
    assert not Path("s").exists()


def test_without_optuna_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    write()
    assert cli.main(["sweep", "s.toml"]) == 2
    assert "optuna, which is not installed: pip install 'ppvae[sweep]'" in capsys.readouterr().err


def test_half_a_line_of_a_process_that_died_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    write(1)
    swept(capsys)
    with Path("s", journal.JOURNAL).open("ab") as file:
        file.write(b'{"op_code":4,"work')
    write(2)
    assert swept(capsys)["finished"] == 2


def test_a_trial_that_is_run_counts_and_is_nobody_elses_until_its_process_is_gone() -> None:
    asked = {"x": optuna.distributions.FloatDistribution(0, 1)}
    one, other = (journal.opened(Path("s"), {}) for _ in range(2))
    with journal.next_trial(one, asked, 0, 2) as first, journal.next_trial(other, asked, 0, 2) as second:
        assert (first.number, second.number) == (0, 1)
        assert first.params != second.params
        with journal.next_trial(one, asked, 0, 2) as none:
            assert none is None
        one.study.tell(first, 1.0)
    with journal.next_trial(one, asked, 0, 2) as again:
        assert again.params == second.params
        with journal.next_trial(other, asked, 0, 2) as none:
            assert none is None


def test_a_damaged_file_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    write()
    Path("s").mkdir()
    Path("s", journal.JOURNAL).write_text("no\njournal\n")
    assert cli.main(["sweep", "s.toml"]) == 2
    assert "is damaged" in capsys.readouterr().err


INTERRUPTED = """
import os, signal
import ppvae

calls = []

def make(modalities, latent):
    calls.append(latent)
    if len(calls) == 5:  # each value is tried before the first trial
        os.kill(os.getpid(), signal.SIGINT)
    pair = ppvae.method("mvae", modalities, latent=latent, hidden=(4,))
    return ppvae.VAE(pair.model, pair.guide)
"""


def test_an_interrupt_is_one_line_and_the_trial_is_made_up_for(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(INTERRUPTED)
    write(2, 1, ('"mvae"', '"mine.py:make"'), ("hidden = [[8], [4, 4]]", ""), ("step = 2", "step = 4"))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
    try:
        assert cli.main(["sweep", "s.toml"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr() == ("", "Interrupted; the trials in s are kept: the same command goes on with them.\n")
    answer = swept(capsys)
    lost, again, new = trials()
    assert (lost.state.name, again.params, again.user_attrs) == ("FAIL", lost.params, {"again": 0})
    swept(capsys, "--out", "whole")
    assert [(trial.params, trial.value) for trial in trials("whole")] == [
        (trial.params, trial.value) for trial in (again, new)
    ]
    assert (answer["finished"], answer["failed"]) == (2, 0)
    assert answer["next"].endswith(" --programs mine.py:make")


def test_what_a_killed_process_leaves_is_made_up_for_by_two_that_share_the_trials() -> None:
    write(6, 20)
    with start() as killed:
        while not Path("s/.trial-0.lock").exists():
            assert killed.poll() is None
            time.sleep(0.005)
        killed.kill()
    with start() as one, start() as other:
        answers = [process.communicate(timeout=100) for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), answers
    found = trials()
    (lost,) = (trial for trial in found if trial.state.name == "FAIL")
    (again,) = (trial for trial in found if "again" in trial.user_attrs)
    assert (lost.number, again.user_attrs["again"], lost.params) == (0, 0, again.params)
    assert len(found) == 7
    assert all(trial.state.name in ("COMPLETE", "PRUNED") for trial in found[1:])
    last = json.loads(answers[0][0]), json.loads(answers[1][0])
    assert max(answer["finished"] + answer["pruned"] for answer in last) == 6
    told = [line for _, err in answers for line in err.splitlines() if line.startswith("trial ")]
    assert len(told) == 6
    assert not list(Path("s").glob(".trial-*"))
