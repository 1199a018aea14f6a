"""The rooms import downwards only, the heavy libraries only where they are used, and public names exist."""

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import teachback

ROOT = Path(__file__).parents[1]
STUDENT_LIBRARIES = {"torch", "transformers", "trl", "peft", "bitsandbytes", "sklearn", "scipy", "matplotlib"}
TEACHER_LIBRARIES = {"langgraph", "openai"}
MODULES = sorted(
    name for _, name, _ in pkgutil.walk_packages(teachback.__path__, "teachback.") if not name.endswith("__main__")
)


def loaded_by(*modules: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after importing some of ours."""
    program = (
        f"import {', '.join(modules)}, json, sys; print(json.dumps(sorted({{n.split('.')[0] for n in sys.modules}})))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(ran.stdout)}


def modules_of(*rooms: str) -> list[str]:
    return [name for name in MODULES if name.split(".")[1] in rooms]


def test_the_layers_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_the_command_line_loads_nothing_heavy() -> None:
    loaded = loaded_by("teachback.cli")
    assert loaded.isdisjoint(STUDENT_LIBRARIES | TEACHER_LIBRARIES | {"duckdb", "numpy", "pyarrow"})


def test_the_store_loads_neither_teachers_nor_students() -> None:
    loaded = loaded_by(*modules_of("errors", "prompts", "store"))
    assert loaded.isdisjoint(STUDENT_LIBRARIES | TEACHER_LIBRARIES)


def test_the_teachers_load_no_student() -> None:
    assert loaded_by(*modules_of("agents")).isdisjoint(STUDENT_LIBRARIES)


def test_the_student_loads_its_libraries_only_when_it_works() -> None:
    assert loaded_by(*modules_of("distill")).isdisjoint(STUDENT_LIBRARIES)


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist(name: str) -> None:
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert [public for public in listed if not hasattr(module, public)] == []
    assert [public for public in listed if public.startswith("_")] == []
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_defines_public_names_lists_them(name: str) -> None:
    module = importlib.import_module(name)
    defined = {
        public
        for public, thing in vars(module).items()
        if not public.startswith("_") and callable(thing) and getattr(thing, "__module__", None) == name
    }
    if defined:
        assert hasattr(module, "__all__"), f"{name} defines {sorted(defined)} and has no __all__"
