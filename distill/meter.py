"""What a training takes: seconds, and joules where the machine measures them.

GPUs by NVML's counter of energy (`nvidia-ml-py`; Volta and later), CPU packages by RAPL as Linux shows it under
/sys/class/powercap. A counter of RAPL starts again within minutes of full load, so a thread reads it now and then.
Energy is what the whole device took, whoever else was using it; where nothing measures it, it is None with the reason.
"""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Meter", "Spent"]

POWERCAP = Path("/sys/class/powercap")
READ_EVERY_S = 30.0  # a counter of 262 kJ, the smallest seen, lasts for ten minutes at 400 W


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent.

    Attributes:
        seconds: Time.
        joules: Energy; None where it was not measured.
        source: What measured it.
        missing: Why nothing did.
    """

    seconds: float = 0.0
    joules: float | None = 0.0
    source: str | None = None
    missing: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as a training's figures."""
        return {
            "seconds": self.seconds,
            "energy_joules": self.joules,
            "energy_source": self.source,
            "energy_missing": self.missing,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Spent":
        """Read figures back; nothing was spent where there are none."""
        if not plain:
            return cls()
        return cls(plain["seconds"], plain["energy_joules"], plain["energy_source"], plain["energy_missing"])

    def __add__(self, later: "Spent") -> "Spent":
        seconds = self.seconds + later.seconds
        if self.joules is None or later.joules is None:
            reason = later.missing or f"until it was resumed: {self.missing}"
            return Spent(seconds, None, None, reason)
        return Spent(seconds, self.joules + later.joules, later.source)


class Meter:
    """Measures from its start until it is closed; use it as a context manager.

    Args:
        powercap: Where Linux shows RAPL's counters.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._counters: list[_Rapl | _Gpu] = []
        missing: list[str] = []
        on_gpu = _on_gpu()
        for of_gpu, find in ((True, _find_gpu), (False, lambda: _find_rapl(powercap))):
            if of_gpu and not on_gpu:
                continue
            found = find()
            if isinstance(found, str):
                missing.append(found)
            else:
                self._counters += found
        # On a GPU machine the GPU is what counts: the host's part alone would mislead, the GPU's alone is named so.
        if on_gpu and not any(isinstance(counter, _Gpu) for counter in self._counters):
            self._counters = []
        self._missing = "; ".join(missing) if not self._counters else None
        self._lock, self._closed = threading.Lock(), threading.Event()

    def __enter__(self) -> "Meter":
        self._started = time.monotonic()
        for counter in self._counters:
            counter.joules()
        if any(isinstance(counter, _Rapl) for counter in self._counters):
            threading.Thread(target=self._read_now_and_then, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed.set()

    def read(self) -> Spent:
        """Return what was spent since the start."""
        seconds = time.monotonic() - self._started
        if not self._counters:
            return Spent(seconds, None, None, self._missing)
        with self._lock:
            joules = sum(counter.joules() for counter in self._counters)
        return Spent(seconds, joules, " + ".join(sorted({counter.source for counter in self._counters})))

    def _read_now_and_then(self) -> None:
        while not self._closed.wait(READ_EVERY_S):
            self.read()


class _Rapl:
    """One CPU package's counter: microjoules, starting again behind its highest number."""

    source = "CPU packages (RAPL)"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._highest = int((folder / "max_energy_range_uj").read_text(encoding="ascii"))
        self._last = self._count()
        self._sum = 0

    def joules(self) -> float:
        """Return joules since the first reading."""
        now = self._count()
        self._sum += now - self._last if now >= self._last else now + self._highest - self._last
        self._last = now
        return self._sum / 1e6

    def _count(self) -> int:
        return int(self._file.read_text(encoding="ascii"))


class _Gpu:
    """NVML's counter of one GPU: millijoules since its driver was loaded."""

    source = "GPU (NVML)"

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self._first = nvml.nvmlDeviceGetTotalEnergyConsumption(handle)

    def joules(self) -> float:
        """Return joules since the first reading."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) - self._first) / 1e3


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _find_gpu() -> "list[_Gpu] | str":
    """Return the counter of the GPU that this process computes on, or why there is none."""
    import torch

    try:
        import pynvml  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return "the GPU is read through nvidia-ml-py, which is not installed: pip install nvidia-ml-py"
    uuid = str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}")
        return [_Gpu(pynvml, handle)]
    except pynvml.NVMLError as error:
        return f"NVML does not tell this GPU's energy: {error}"


def _find_rapl(powercap: Path) -> "list[_Rapl] | str":
    """Return the counters of the CPU packages, or why there are none."""
    packages: list[_Rapl] = []
    try:
        # Behind a second colon stand a package's own parts, which it counts already.
        for folder in sorted(powercap.glob("intel-rapl:*")):
            if folder.name.count(":") == 1 and (folder / "name").read_text(encoding="ascii").startswith("package"):
                packages.append(_Rapl(folder))
    except PermissionError:
        return f"RAPL's counters under {powercap} can be read by root alone"
    except (OSError, ValueError) as error:
        return f"RAPL's counters under {powercap} cannot be read: {error}"
    return packages or f"there is no RAPL counter under {powercap}"
