"""Packaging: what wheel and sdist hold, what an install can import, and how little that loads."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ppvae

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGED = ("*.py", "*.npz", "*.md", "*.html", "*.css", "py.typed")
PROGRAMS = ("models", "guides")


def package_files() -> set[str]:
    """Every file of the tree that belongs into the wheel, by its path in the wheel."""
    engine = {path.relative_to(ROOT) for pattern in PACKAGED for path in (ROOT / "ppvae").rglob(pattern)}
    programs = {Path("ppvae", folder, path.name) for folder in PROGRAMS for path in (ROOT / folder).glob("*.py")}
    return {path.as_posix() for path in engine | programs}


def python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from that sdist.

    The tree is copied first: a build leaves folders behind that answer for missing files in the next one.
    """
    work = tmp_path_factory.mktemp("packaging")
    skip = shutil.ignore_patterns(".*", "build", "dist", "out", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, work / "tree", ignore=skip)
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(work / "dist"),
        str(work / "tree"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return work / "dist"


def test_the_wheel_holds_every_package_file_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == package_files()
    assert {"ppvae/models/__init__.py", "ppvae/guides/__init__.py", "ppvae/py.typed"} <= held
    assert {"ppvae/datasets/mfeat.npz", "ppvae/datasets/README.md"} <= held


def test_the_sdist_holds_the_tree(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    sources = {re.sub(r"^ppvae/(models|guides)/", r"\1/", name) for name in package_files()}
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("*.py")}
    assert held >= sources | tests | {"pyproject.toml", "constraints.txt", "Makefile", "LICENSE", "README.md"}


def test_every_folder_of_code_is_listed_as_a_package() -> None:
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "ppvae").rglob("*.py")}
    expected = {".".join(folder.parts) for folder in folders} | {f"ppvae.{name}" for name in PROGRAMS}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == expected


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_bare_name_is_refused_kindly(name: str) -> None:
    done = python(f"import {name}", cwd=ROOT)
    assert done.returncode != 0
    assert f"ImportError: This folder is the package ppvae.{name}: please write `import ppvae.{name}`" in done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("place", ["root", "elsewhere"])
def test_the_programs_import_from_anywhere(name: str, place: str, tmp_path: Path) -> None:
    code = f"import ppvae.{name} as package; print(package.__path__[0])"
    done = python(code, cwd=ROOT if place == "root" else tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).name == name


LOADED = "print('loaded:', *sorted({'jax', 'torch'} & set(sys.modules)))"


def test_importing_ppvae_loads_neither_torch_nor_jax(tmp_path: Path) -> None:
    done = python(f"import sys, ppvae; {LOADED}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "loaded:"


def test_training_on_pyro_does_without_jax(tmp_path: Path) -> None:
    code = (
        "import sys, numpy, ppvae; data = ppvae.Dataset({'a': numpy.random.default_rng(0).normal(size=(20, 3))}); "
        "vae = ppvae.method('vae', data.modalities, hidden=(4,)); "
        f"ppvae.fit(vae, data, backend='pyro', epochs=1, progress=False).encode(data); {LOADED}"
    )
    done = python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "loaded: torch"


def test_the_help_page_loads_neither_torch_nor_jax(tmp_path: Path) -> None:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: {LOADED})\n"
        "from ppvae.cli import main\n"
        "sys.argv = ['ppvae', '--help']\n"
        "sys.exit(main())"
    )
    done = python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


def test_the_version_is_the_same_everywhere() -> None:
    assert ppvae.__version__ == PYPROJECT["project"]["version"]


def test_every_direct_dependency_is_pinned_exactly_and_portably() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line)] == []
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines}
    project = PYPROJECT["project"]
    extras = [each for extra in project["optional-dependencies"].values() for each in extra]
    wanted = project["dependencies"] + [each for each in extras if not each.startswith("ppvae[")]
    names = {re.match(r"[A-Za-z0-9_-]+", requirement)[0] for requirement in wanted}
    assert names - pinned == {"setuptools"}


def test_the_embedded_data_are_what_their_page_says() -> None:
    views = {"fou": 76, "fac": 216, "kar": 64, "pix": 240, "zer": 47, "mor": 6}
    with np.load(ROOT / "ppvae" / "datasets" / "mfeat.npz", allow_pickle=False) as data:
        shapes = {name: data[name].shape for name in data.files}
        pix, digit = data["pix"], data["digit"]
    assert shapes == {name: (2000, size) for name, size in views.items()} | {"digit": (2000,)}
    assert set(np.unique(pix)) == set(range(7))
    assert np.bincount(digit).tolist() == [200] * 10
