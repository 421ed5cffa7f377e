"""Ctrl-C, as a real signal at any moment: exit code 130 and one line."""

from __future__ import annotations

import atexit
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ppvae.cli.interruption import guarded

INTERRUPTED = (130, "", "Interrupted.\n")
# The process interrupts itself at its N-th import after the command was entered.
AT_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
from ppvae.cli import main
left = [int(sys.argv[1])]
def count(event, arguments):
    if event == "import":
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(count)
sys.exit(main(sys.argv[2:]))
"""
HEARD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from ppvae.cli import main
sys.exit(main())
"""
FIT = ["fit", "mvae", "--epochs", "1000000"]


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", [1, 30, 300, 1500])
def test_while_libraries_are_loaded(number: int, tmp_path: Path) -> None:
    words = [sys.executable, "-c", AT_IMPORT, str(number), *FIT, "--out", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == INTERRUPTED


def turned_into_another_error() -> None:
    try:
        press()
    except KeyboardInterrupt:
        raise RuntimeError("failed to compile") from None


def while_a_destructor_runs() -> None:
    class Thing:
        def __del__(self) -> None:
            press()

    Thing()
    while True:
        sum(range(1000))


def interrupted(command: Callable[[], None]) -> None:
    """End this process with the code of a guarded command, which leaves everything as it was."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    code = guarded(lambda: command() or 0, last=False)
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before
    sys.exit(code)


@pytest.mark.parametrize("command", ["press", "turned_into_another_error", "while_a_destructor_runs"])
def test_whatever_libraries_make_of_it(command: str) -> None:
    code = f"import test_interruption as tests; tests.interrupted(tests.{command})"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == INTERRUPTED


def leaving_crashes() -> None:
    atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    guarded(lambda: press() or 0, last=True)


def test_a_crash_of_what_is_left_behind_is_not_waited_for() -> None:
    code = "import test_interruption as tests; tests.leaving_crashes()"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == INTERRUPTED


def test_what_the_command_says_of_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise KeyboardInterrupt("Interrupted; the checkpoint is kept.")

    assert guarded(command, last=False) == 130
    assert capsys.readouterr().err == "Interrupted; the checkpoint is kept.\n"


def test_a_process_that_ignores_it_goes_on_doing_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert guarded(lambda: press() or 3, last=False) == 3
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.parametrize("words", [FIT, ["demo"]], ids=["fit", "demo"])
def test_at_random_moments(words: list[str], tmp_path: Path) -> None:
    moments = random.Random(0)
    for number in range(6):
        command = [sys.executable, "-c", HEARD, *words, "--out", tmp_path / str(number)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(moments.uniform(1, 12))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130, err
        told = [line for line in err.splitlines() if line.startswith("Interrupted")]
        assert len(told) == 1
        assert err.splitlines()[-1] == told[0]
        assert "Traceback" not in err
