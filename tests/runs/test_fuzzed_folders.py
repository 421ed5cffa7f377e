"""Whatever a run folder holds, opening it ends soon, in little memory, and with one sentence at most."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import run_fuzzer

MUTATIONS = 500


@pytest.mark.slow
def test_no_run_folder_breaks_what_opens_it(tmp_path: Path) -> None:
    command = [sys.executable, run_fuzzer.__file__, str(tmp_path), str(MUTATIONS)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout)
    print(counts)
    faults = {"tracebacks": 0, "hangs": 0, "memory": 0, "more than a sentence": 0}
    assert {name: counts.pop(name) for name in faults} == faults, done.stderr[-2000:]
    assert sum(counts.values()) == MUTATIONS
    assert counts["sentences"] > MUTATIONS / 2
