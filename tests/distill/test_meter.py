"""Energy and time: counters as Linux shows them, in a folder of their own; what is said where there are none."""

import os
from pathlib import Path

import pytest

from teachback.distill.meter import Meter, Spent


def package(powercap: Path, number: int, start: int, name: str = "package-0", highest: int = 1_000_000_000) -> Path:
    folder = powercap / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{highest}\n")
    (folder / "energy_uj").write_text(f"{start}\n")
    return folder / "energy_uj"


def test_energy_is_that_of_all_packages_and_not_of_their_parts(torch: object, tmp_path: Path) -> None:
    first, second = package(tmp_path, 0, 500_000), package(tmp_path, 1, 0, "package-1")
    package(tmp_path, 2, 7, "psys")
    part = tmp_path / "intel-rapl:0:0"
    part.mkdir()
    (part / "name").write_text("core\n")
    with Meter(tmp_path) as meter:
        first.write_text("2500000\n")
        second.write_text("1000000\n")
        spent = meter.read()
        assert spent.joules == pytest.approx(2.0 + 1.0)  # 2.5 - 0.5 million microjoules, and 1 million
        assert spent.source == "CPU packages (RAPL)"
        assert spent.missing is None
        assert 0 <= spent.seconds < 60
        second.write_text("1500000\n")
        assert meter.read().joules == pytest.approx(3.5)


def test_a_counter_that_starts_again_loses_nothing(torch: object, tmp_path: Path) -> None:
    counter = package(tmp_path, 0, 900_000_000, highest=1_000_000_000)
    with Meter(tmp_path) as meter:
        counter.write_text("200000000\n")
        assert meter.read().joules == pytest.approx(300.0)  # 100 to the highest, and 200 more
        counter.write_text("300000000\n")
        assert meter.read().joules == pytest.approx(400.0)


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_where_nothing_measures_it_the_reason_stands_in_its_place(torch: object, tmp_path: Path) -> None:
    with Meter(tmp_path / "nowhere") as meter:
        spent = meter.read()
    assert (spent.joules, spent.source) == (None, None)
    assert spent.missing == f"there is no RAPL counter under {tmp_path / 'nowhere'}"
    package(tmp_path, 0, 0).write_text("not a number\n")
    with Meter(tmp_path) as meter:
        assert "cannot be read" in (meter.read().missing or "")


def test_sittings_add_up_and_a_gap_is_no_zero() -> None:
    first, second = Spent(10.0, 50.0, "CPU packages (RAPL)"), Spent(5.0, 20.0, "CPU packages (RAPL)")
    assert first + second == Spent(15.0, 70.0, "CPU packages (RAPL)")
    assert Spent() + second == second
    unknown = Spent(3.0, None, None, "read by root alone")
    assert (unknown + second).joules is None
    assert (unknown + second).missing == "until it was resumed: read by root alone"
    assert (second + unknown).missing == "read by root alone"
    assert Spent.from_dict(first.as_dict()) == first
    assert Spent.from_dict({}) == Spent()
