"""Sweeps on Ray: the trials of a plain sweep, whatever dies on the way."""

from __future__ import annotations

import json
import socket
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from sweep_harness import start, trials, write, write_data

from ppvae import cli
from ppvae.cli.sweeps import entries, on_ray

with_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'ppvae[ray]'")


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "local")  # not a cluster that happens to be there
    write_data()


def finished(*words: str) -> tuple[int, str, str]:
    with start(*words) as process:
        out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def test_without_ray_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["sweep", write(), "--ray"]) == 2
    assert "ray, which is not installed: pip install 'ppvae[ray]'" in capsys.readouterr().err


def test_where_no_cluster_listens_it_says_so_at_once() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"there is no Ray cluster at '{address}', as RAY_ADDRESS says"):
            on_ray._check_address(address)
        nobody.listen()
        on_ray._check_address(address)
    with pytest.raises(ValueError, match="begins on a machine of the cluster"):
        on_ray._check_address("ray://127.0.0.1:10001")


def test_a_machine_without_the_folder_begins_no_sweep_of_its_own() -> None:
    sweep = entries.parsed(Path(write()))
    told = on_ray._trial({}, Path("s.toml"), sweep, {}, Path("s"), Path.cwd())
    assert "there is no sweep in" in told["mistake"]
    assert not Path("s").exists()


@pytest.mark.parametrize(
    ("options", "most", "gpus"),
    [
        ({}, 0, 0),
        ({"device": "cuda"}, 0, 0),
        ({}, 1, 1),
        ({"device": "cpu"}, 1, 0),
        ({"backend": "numpyro", "devices": 4}, 8, 4),
    ],
)
def test_a_trial_takes_gpus_where_there_are_any_and_it_would_use_them(
    options: dict[str, int], most: int, gpus: int
) -> None:
    sweep = entries.parsed(Path(write())).model_copy(update={"options": options})
    machines = [{"CPU": 2.0}, {"CPU": 2.0, **({"GPU": float(most)} if most else {})}]
    assert on_ray._needed(sweep, machines) == {"cpu": 1, "gpu": gpus}
    if most:
        with pytest.raises(ValueError, match=f"no machine of Ray has over {most}"):
            on_ray._needed(sweep.model_copy(update={"options": {"backend": "numpyro", "devices": 9}}), machines)


@pytest.mark.slow
@with_ray
def test_trials_are_those_of_a_plain_sweep() -> None:
    write(3, 2)
    code, out, err = finished("--ray")
    assert code == 0, err
    assert "Trials to go: 3, on a Ray cluster of " in err
    assert sum(line.startswith("trial ") for line in err.splitlines()) == 3
    assert finished("--out", "plain")[0] == 0
    assert [trial.params for trial in trials()] == [trial.params for trial in trials("plain")]
    values = [trial.value for trial in trials("plain")]
    assert [trial.value for trial in trials()] == pytest.approx(values, rel=1e-5)
    answer = json.loads(out)
    assert [row["objective"] for row in answer["best"]] == pytest.approx(sorted(values, reverse=True), rel=1e-5)
    assert (answer["finished"], answer["next"]) == (3, f"ppvae report {answer['best'][0]['run']}")
    assert finished("--ray")[1:] == (out, ""), "no Ray is started where nothing is to be done"


@pytest.mark.slow
@with_ray
def test_a_killed_sweep_goes_on() -> None:
    write(3, 100)
    with start("--ray") as killed:
        while not Path("s/.trial-0.lock").exists():
            assert killed.poll() is None
            time.sleep(0.05)
        killed.kill()
    time.sleep(2)  # Ray ends the processes that were its
    code, out, err = finished("--ray")
    assert code == 0, err
    assert json.loads(out)["finished"] == 3
    lost = [trial for trial in trials() if trial.state.name == "FAIL"]
    again = {trial.user_attrs["again"]: trial.params for trial in trials() if "again" in trial.user_attrs}
    assert again == {trial.number: trial.params for trial in lost}
    assert 0 in again
    assert not list(Path("s").glob(".trial-*"))


DEADLY = """
import os, signal
from pathlib import Path
import ppvae

def make(modalities, latent):
    deaths = Path("deaths")
    if deaths.read_text() != "..." and list(Path("s").glob(".trial-*.lock")):
        deaths.write_text(deaths.read_text() + ".")
        os.kill(os.getpid(), signal.SIGKILL)
    pair = ppvae.method("mvae", modalities, latent=latent, hidden=(4,))
    return ppvae.VAE(pair.model, pair.guide)
"""


@pytest.mark.slow
@with_ray
def test_a_trial_whose_process_dies_is_begun_again_and_given_up_in_one_sentence() -> None:
    Path("mine.py").write_text(DEADLY)
    Path("deaths").write_text("")
    write(1, 1, ('"mvae"', '"mine.py:make"'), ("hidden = [[8], [4, 4]]", ""))
    code, out, err = finished("--ray")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("Error: the process of a trial died 3 times (ActorDiedError)")
    assert "Traceback" not in err
    code, out, err = finished("--ray")
    assert code == 0, err
    assert json.loads(out)["finished"] == 1
    Path("deaths").write_text("..")
    write(2, 1, ('"mvae"', '"mine.py:make"'), ("hidden = [[8], [4, 4]]", ""))
    code, out, err = finished("--ray")
    assert code == 0, err
    assert json.loads(out)["finished"] == 2
