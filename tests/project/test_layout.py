"""Layout: imports run only downwards, the engine names no program, and files and functions stay short."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FACE = "ppvae"
# The rooms, lowest floor first: each may call those before it.
FLOORS = (
    "language",
    "data",
    "datasets",
    "parts",
    "objectives",
    "runs",
    "backends",
    "zoo",
    "inference",
    "training",
    "metrics",
    "diagnostics",
    "plots",
    "report",
    "cli",
)


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] != "ppvae":
        parts.insert(0, "ppvae")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for top in ("ppvae", "models", "guides") for path in (ROOT / top).rglob("*.py")}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
PACKAGES = {name for name, path in FILES.items() if path.name == "__init__.py"}
PROGRAMS = {name for name in FILES if re.match(r"ppvae\.(models|guides)\b", name)}
ENGINE = FILES.keys() - PROGRAMS


def statements(node: ast.AST, lazy: bool = True) -> Iterator[ast.AST]:
    """All nodes below ``node``, but for typing-only blocks and, unless ``lazy``, function bodies."""
    typing = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for child in node.orelse if typing else ast.iter_child_nodes(node):
        yield child
        if lazy or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from statements(child, lazy)


def absolute(node: ast.ImportFrom, module: str) -> str:
    """The package that a ``from ... import`` names, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    own = module.split(".")
    up = node.level - (module in PACKAGES)
    return ".".join(own[: len(own) - up] + ([node.module] if node.module else []))


def imported(tree: ast.AST, module: str, lazy: bool = True) -> set[str]:
    """The modules of ppvae that ``module`` imports, inside functions too if ``lazy``."""
    found: set[str] = set()
    for node in statements(tree, lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = absolute(node, module)
            names = [alias.name for alias in node.names if alias.name != "__version__"]
            found |= {full if (full := f"{source}.{name}") in FILES else source for name in names}
    return found & FILES.keys()


# The face looks its names up at first use, so what its functions import is not an import of the file.
GRAPH = {name: imported(tree, name, lazy=name != FACE) for name, tree in TREES.items()}


def test_imports_form_no_circle() -> None:
    order = list(TopologicalSorter(GRAPH).static_order())
    assert set(order) == set(FILES)


def room(name: str) -> str | None:
    """The room that a module of the engine lives in; None for the files beside the rooms."""
    parts = name.split(".")
    return parts[1] if len(parts) > 2 or name in PACKAGES - {FACE} else None


def test_every_room_has_its_floor() -> None:
    assert {room(name) for name in ENGINE} - {None} == set(FLOORS)


def test_between_rooms_imports_run_downwards() -> None:
    climbs = {
        f"{name} imports {other}"
        for name in ENGINE
        for other in GRAPH[name]
        if (own := room(name)) and (theirs := room(other)) and FLOORS.index(theirs) > FLOORS.index(own)
    }
    assert climbs == set()


def test_within_the_mirror_too() -> None:
    inner = [f"ppvae.backends.mirror.{folder}" for folder in ("running", "functions", "layers")]
    floor = {name: i for i, folder in enumerate(inner) for name in FILES if name.startswith(folder)}
    assert {(name, other) for name in floor for other in GRAPH[name] if floor.get(other, -1) > floor[name]} == set()


def test_no_hall_is_crowded() -> None:
    beside = [path for path in (ROOT / "ppvae").iterdir() if path.is_file()]
    assert len(beside) <= 4, beside
    counts = Counter(path.parent for path in FILES.values() if path.parent.name not in ("models", "guides"))
    assert {str(folder): count for folder, count in counts.items() if count > 16} == {}


def test_the_engine_imports_no_program() -> None:
    assert {name: GRAPH[name] & PROGRAMS for name in ENGINE if GRAPH[name] & PROGRAMS} == {}


def test_only_the_zoo_names_programs_by_string() -> None:
    texts = ((name, node.value) for name in ENGINE for node in ast.walk(TREES[name]) if isinstance(node, ast.Constant))
    named = {name for name, text in texts if re.fullmatch(r"ppvae\.(models|guides)(\.[\w.]*)?", str(text))}
    assert named <= {"ppvae.zoo.build"}


def test_the_engine_does_not_import_through_its_own_face() -> None:
    assert {name for name in ENGINE if FACE in GRAPH[name]} <= {"ppvae.cli"}


@pytest.mark.parametrize(("one", "other"), [("models", "guides"), ("guides", "models")])
def test_models_and_guides_do_not_import_each_other(one: str, other: str) -> None:
    theirs = {name for name in FILES if name.startswith(f"ppvae.{other}")}
    assert {
        name: GRAPH[name] & theirs for name in FILES if name.startswith(f"ppvae.{one}") and GRAPH[name] & theirs
    } == {}


@pytest.mark.parametrize(
    ("source", "module", "expected"),
    [
        ("import ppvae.face, torch", "ppvae.x", {"ppvae.face"}),
        ("from ppvae import Program, face, __version__", "ppvae.x", {"ppvae", "ppvae.face"}),
        ("def f():\n from . import face", "ppvae.x", {"ppvae.face"}),
        ("from ..language.ppl import dist", "ppvae.data.x", {"ppvae.language.ppl"}),
        ("from ..language import ppl", "ppvae.data.x", {"ppvae.language.ppl"}),
        ("if TYPE_CHECKING:\n from ppvae import data\nelse:\n from ppvae import face", "ppvae.x", {"ppvae.face"}),
    ],
)
def test_imports_are_found_wherever_they_stand(source: str, module: str, expected: set[str]) -> None:
    assert imported(ast.parse(source), module) == expected


def test_what_a_function_of_the_face_imports_is_left_out() -> None:
    assert imported(ast.parse("def f():\n import ppvae.language.ppl"), FACE, lazy=False) == set()


@pytest.mark.parametrize("name", sorted(FILES))
def test_line_one_is_a_docstring(name: str) -> None:
    assert re.match(r'r?"""\S', FILES[name].read_text(encoding="utf-8"))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, without its docstring."""
    first = function.body[1 if ast.get_docstring(function) is not None else 0 :]
    return function.end_lineno - first[0].lineno + 1 if first else 0


def test_nine_functions_in_ten_have_at_most_twenty_lines() -> None:
    sizes = {
        f"{name}.{node.name}": body_lines(node)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    long = {name: lines for name, lines in sizes.items() if lines > 20}
    assert len(long) <= len(sizes) / 10, long


def test_program_files_are_short() -> None:
    lengths = {name: len(FILES[name].read_text(encoding="utf-8").splitlines()) for name in PROGRAMS}
    assert {name: lines for name, lines in lengths.items() if lines > 90} == {}


def test_no_file_is_a_drawer() -> None:
    assert {name for name in FILES if re.search(r"\b(utils?|helpers?|common|misc)$", name)} == set()
