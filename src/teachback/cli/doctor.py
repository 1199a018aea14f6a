"""`teachback doctor`: what this machine can run, and what each missing thing would give."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["Check", "doctor", "examine"]

# GiB. Rough: torch and a student of a few million parameters; a store of some thousand reports and a few adapters.
_ENOUGH_MEMORY_GIB = 4.0
_ENOUGH_DISK_GIB = 2.0

# Seconds; generous, because the first import of torch reads much from disk.
_PROBE_TIMEOUT = 120.0

# Of a requirement's line in the package's own metadata: its name, and the extra that asks for it.
_NAME = re.compile(r"[\w.-]+")
_EXTRA = re.compile(r"""extra\s*==\s*["']([\w.-]+)["']""")

# Run in a process of their own: a broken CUDA or bitsandbytes build can take the whole process down.
_GPU_PROBE = """
import torch
for i in range(torch.cuda.device_count()):
    card = torch.cuda.get_device_properties(i)
    print(f"{card.name}, {card.total_memory / 2**30:.0f} GiB")
"""
_NF4_PROBE = """
import torch, bitsandbytes.functional as bnb
weights = torch.linspace(-1, 1, 4096).reshape(64, 64)
packed, state = bnb.quantize_4bit(weights, quant_type="nf4")
error = (bnb.dequantize_4bit(packed, state).float() - weights).abs().max().item()
assert error < 0.2, f"the largest error is {error:.2f}"
print(f"quantises on CPU, largest error {error:.3f}")
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that this machine has or lacks.

    Attributes:
        name: What was looked for.
        state: `ok`, `missing`, or `note` for what can be done without.
        found: What was found.
        gives: What it would give; empty when it is there.
        remedy: The command that gets it; empty when it is there or cannot be got.
    """

    name: str
    state: Literal["ok", "missing", "note"]
    found: str
    gives: str = ""
    remedy: str = ""


def doctor(
    store: Annotated[Path | None, typer.Option(help="Also look at this store.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what this machine can run, and what each missing thing would give. Sends nothing, writes nothing.

    Example: teachback doctor --store labels.duckdb
    """
    if as_json:
        import json

        typer.echo(json.dumps([asdict(check) for check in examine(store)], indent=2))
        return
    _print(examine(store))


def examine(store: Path | None = None) -> list[Check]:
    """Look at this machine.

    Args:
        store: A store to look at too.
    """
    checks = [_check_python(), _check_light(), _check_train()]
    trainable = checks[-1].state == "ok"
    with ThreadPoolExecutor() as pool:  # both import torch, which takes seconds
        checks += pool.map(lambda check: check(trainable), (_check_gpu, _check_nf4))
    checks += [
        _check_key(),
        _check_encryption(),
        _check_endpoint(),
        _check_loopback(),
        _check_cores(),
        _check_memory(),
        _check_disk(store),
    ]
    return checks + ([_check_store(store)] if store is not None else [])


def _print(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colours = {"ok": "green", "missing": "red", "note": "yellow"}
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in checks:
        lines = [escape(check.found)]
        lines += [f"would give: {escape(check.gives)}"] if check.gives else []
        lines += [f"to get it: [bold]{escape(check.remedy)}[/bold]"] if check.remedy else []
        table.add_row(f"[{colours[check.state]}]{check.state}[/]", check.name, "\n".join(lines))
    Console(highlight=False).print(table)


def _check_python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("Python", "ok", found)


def _check_light() -> Check:
    packages = list(_required(extra=None))
    absent = [name for name, found in packages if found is None]
    listed = _listed([("teachback", _version_of("teachback")), *packages])
    if absent:
        return Check("teachback", "missing", f"without {', '.join(absent)}", "anything at all", "pip install teachback")
    return Check("teachback", "ok", listed)


def _check_train() -> Check:
    packages = list(_required(extra="train"))
    absent = [name for name, found in packages if found is None]
    if not absent:
        return Check("train extra", "ok", _listed(packages))
    gives = "training and running students: `distill`, `init-student`, `demo`"
    return Check("train extra", "missing", f"without {', '.join(absent)}", gives, "pip install 'teachback[train]'")


def _check_gpu(trainable: bool) -> Check:
    gives = "an 8B student; without one, only tiny students train in reasonable time"
    if trainable:
        answered, said = _probe([sys.executable, "-c", _GPU_PROBE])
        if answered and said:
            return Check("GPU", "ok", "; ".join(said.splitlines()))
        seen = "torch sees none" if answered else f"torch fails: {said}"
    else:
        seen = "no torch to ask"
    cards = _list_nvidia_cards()
    if cards and trainable:
        return Check("GPU", "missing", f"{cards}, but {seen}", gives, "install the torch build of your CUDA driver")
    if cards:
        return Check("GPU", "ok", f"{cards} ({seen})")
    return Check("GPU", "note", seen, gives, "run on a machine with an NVIDIA card")


def _check_nf4(trainable: bool) -> Check:
    gives = "QLoRA: a base model in 4 bits, a quarter of the memory"
    if not trainable and _version_of("bitsandbytes") is None:
        return Check("bitsandbytes", "missing", "not installed", gives, "pip install 'teachback[train]'")
    answered, said = _probe([sys.executable, "-c", _NF4_PROBE])
    if answered:
        return Check("bitsandbytes", "ok", said)
    return Check("bitsandbytes", "missing", said, gives, "pip install --force-reinstall bitsandbytes")


def _check_key() -> Check:
    if os.environ.get("OPENAI_API_KEY"):
        return Check("OPENAI_API_KEY", "ok", "set (not shown, not tried)")
    gives = "a hosted model as the LLM labeler and adjudicator; the stand-in needs none"
    return Check("OPENAI_API_KEY", "note", "not set", gives, "export OPENAI_API_KEY=...")


def _check_encryption() -> Check:
    from teachback.store.file import CIPHER, KEY, encryption_state

    state = encryption_state()
    if state == "on":
        return Check("encryption", "ok", "stores are encrypted on disk (AES-GCM by OpenSSL)")
    if state == "unsafe":
        return Check("encryption", "note", f"for trials only: {CIPHER}=unsafe", "keys that hold", f"unset {CIPHER}")
    if state == "off":
        return Check("encryption", "note", f"{KEY} not set", "stores that are encrypted on disk", f"export {KEY}=...")
    remedy = "with network, python -c \"import duckdb; duckdb.sql('INSTALL httpfs')\""
    return Check("encryption", "missing", f"{KEY} is set, but DuckDB's httpfs is not there", "writing stores", remedy)


def _check_endpoint() -> Check:
    address = os.environ.get("OPENAI_BASE_URL")
    if address:
        return Check("OPENAI_BASE_URL", "ok", _without_password(address))
    gives = "a local endpoint (vLLM, Ollama), for corpora that may not leave this machine"
    return Check("OPENAI_BASE_URL", "note", "not set", gives, "export OPENAI_BASE_URL=http://127.0.0.1:8000/v1")


def _check_loopback() -> Check:
    try:
        with socket.create_server(("127.0.0.1", 0)):
            return Check("loopback", "ok", "a server can listen on 127.0.0.1")
    except OSError as error:
        gives = "`stand-in-llm` and `demo` without a key"
        return Check("loopback", "missing", str(error), gives, "allow this program to listen on 127.0.0.1")


def _check_cores() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS")
    return Check("cores", "ok", f"{cores}" + (f", OMP_NUM_THREADS={threads}" if threads else ""))


def _check_memory() -> Check:
    total = _memory_gib()
    if total is None:
        return Check("memory", "note", "unknown", f"about {_ENOUGH_MEMORY_GIB:g} GiB are enough for the demo")
    if total >= _ENOUGH_MEMORY_GIB:
        return Check("memory", "ok", f"{total:.1f} GiB")
    return Check("memory", "note", f"{total:.1f} GiB", f"training wants about {_ENOUGH_MEMORY_GIB:g} GiB")


def _check_disk(store: Path | None) -> Check:
    folder = (store.parent if store is not None else Path()).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    if free >= _ENOUGH_DISK_GIB:
        return Check("disk", "ok", f"{free:.1f} GiB free at {folder}")
    gives = f"room for a store, its snapshot and the adapters: about {_ENOUGH_DISK_GIB:g} GiB"
    return Check("disk", "missing", f"{free:.1f} GiB free at {folder}", gives, "free some, or use another folder")


def _check_store(store: Path) -> Check:
    from teachback.errors import StoreError
    from teachback.store.database import open_snapshot
    from teachback.store.migrate import latest_version, schema_version

    try:
        connection, age = open_snapshot(store)
        with connection:
            schema = schema_version(connection)
            counts = connection.execute(
                "SELECT (SELECT count(*) FROM reports), (SELECT count(*) FROM labels), (SELECT count(*) FROM rounds)"
            ).fetchone() or (0, 0, 0)
    except StoreError as error:
        return Check("store", "missing", error.message, "reports, labels and rounds", error.remedy)
    found = "{:,} reports, {:,} labels, {:,} rounds".format(*counts)
    found += f"; snapshot {age:.0f} s old, schema {schema}"
    if schema == latest_version():
        return Check("store", "ok", found)
    newest = f"this Teachback writes schema {latest_version()}"
    return Check("store", "note", found, newest, "run any writing command on it to migrate it")


def _required(extra: str | None) -> Iterator[tuple[str, str | None]]:
    """Yield the packages that an extra (None: the light install) requires, with their versions."""
    try:
        lines = requires("teachback") or []
    except PackageNotFoundError:
        lines = []
    for line in lines:
        name, needed_by = _NAME.match(line), _EXTRA.search(line)
        if name and (needed_by[1] if needed_by else None) == extra:
            yield name[0], _version_of(name[0])


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _listed(packages: list[tuple[str, str | None]]) -> str:
    return ", ".join(f"{name} {found}" for name, found in packages)


def _probe(command: list[str]) -> tuple[bool, str]:
    """Run a command; return whether it succeeded, and what it said (its last line when it failed)."""
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROBE_TIMEOUT, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    if ended.returncode == 0:
        return True, ended.stdout.strip()
    lines = ended.stderr.strip().splitlines()
    return False, lines[-1] if lines else f"exit status {ended.returncode}"


def _list_nvidia_cards() -> str:
    if not shutil.which("nvidia-smi"):
        return ""
    answered, said = _probe(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"])
    return "; ".join(said.splitlines()) if answered else ""


def _memory_gib() -> float | None:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return None
    limits = [Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    for limit in limits:
        text = limit.read_text().strip() if limit.exists() else ""
        if text.isdigit():
            total = min(total, int(text))
    return total / 2**30


def _without_password(address: str) -> str:
    """Hide what stands before the @ and behind the ? of an address: either may hold a key."""
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()
