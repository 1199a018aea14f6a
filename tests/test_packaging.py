"""What is installed is what stands in the tree: four rooms behind links, and the files that are no Python."""

import importlib
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("agents", "distill", "prompts", "store")


def files_of(folder: Path) -> set[str]:
    """Return the paths of a folder's files as `room/...`, without what Python and editors leave behind."""
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_importable_by_its_full_name(room: str) -> None:
    module = importlib.import_module(f"teachback.{room}")
    assert module.__doc__


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_a_link_to_the_folder_at_the_top(room: str) -> None:
    # Where a checkout was made with links switched off, this is a text file: `git config core.symlinks true`.
    link = ROOT / "src" / "teachback" / room
    assert link.is_symlink()
    assert link.resolve() == ROOT / room


@pytest.mark.parametrize(
    ("package", "pattern"),
    [
        ("agents", "prices.yaml"),
        ("agents/rules", "findings.yaml"),
        ("agents/rules", "cues.yaml"),
        ("distill/presets", "tiny-cpu.yaml"),
        ("distill/presets", "qlora-8b.yaml"),
        ("distill/presets", "paper.yaml"),
        ("distill/report/templates", "report.html.j2"),
        ("prompts/llm_labeler", "default.md"),
        ("prompts/adjudicator", "default.md"),
        ("prompts/student", "default.md"),
        ("prompts/student", "short.md"),
        ("store/migrations", "0001_*.sql"),
        ("store/corpora/synthetic/phrases", "lungs.yaml"),
        ("", "py.typed"),
    ],
)
def test_a_data_file_is_found_through_the_import_name(package: str, pattern: str) -> None:
    folder = resources.files("teachback").joinpath(*package.split("/"))
    found = [entry for entry in folder.iterdir() if fnmatch(entry.name, pattern)]
    assert found
    assert all(entry.is_file() for entry in found)


def test_every_data_file_is_packaged_by_its_ending() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    files = set().union(*(files_of(ROOT / room) for room in ROOMS))
    unpackaged = [
        file
        for file in files
        if not file.endswith(".py") and not any(fnmatch(file.rsplit("/", 1)[1], pattern) for pattern in patterns)
    ]
    assert unpackaged == []


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_rooms(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    for folder in (*ROOMS, "src"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / folder, tree / folder, symlinks=True, ignore=ignored)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, tree],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("teachback-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    wanted = set().union(*(files_of(ROOT / room) for room in ROOMS), files_of(ROOT / "src" / "teachback" / "cli"))
    assert {f"teachback/{file}" for file in wanted} <= packed
    # Nothing beside `teachback` may be imported: `agents` is the import name of another project.
    assert {name.split("/")[0].partition("-")[0] for name in packed} == {"teachback"}
