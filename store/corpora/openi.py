"""The Indiana University chest X-ray collection (Open-i): NLM's XML, or the two-CSV form of it.

Demner-Fushman et al. 2016, doi:10.1093/jamia/ocv080. `XXXX` is the collection's own mask and stays. There are no
patient ids. The collection is a few thousand reports, so it is read whole before anything is written.
"""

import gzip
import io
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path

from teachback.errors import InputError
from teachback.store.corpora.imported import (
    Corpus,
    Entry,
    Reading,
    Skipped,
    file_version,
    finding_labels,
    refuse_damage,
)
from teachback.store.corpora.openi_mesh import codes_to_findings, mapping_version
from teachback.store.corpora.rows_file import read_rows
from teachback.store.label import Labeler
from teachback.store.report import Report

__all__ = ["OPENI_LABELER", "OPENI_LICENCE", "read_openi"]

OPENI_LICENCE = "CC BY-NC-ND 4.0"
OPENI_LABELER = Labeler("human", "openi-mesh", mapping_version())

MAX_XML_BYTES = 2_000_000  # one report's XML has about 8 kB
MAX_ARCHIVE_BYTES = 1_000_000_000  # unpacked; NLM's whole collection has about 40 MB

_SECTIONS = ("indication", "comparison", "findings", "impression")
_CSV_NAME = "indiana_reports.csv"
_PROJECTIONS = "indiana_projections.csv"
_CSV_COLUMNS = ("uid", "MeSH", "findings", "impression")
_LABELER_ID = OPENI_LABELER.labeler_id
_NOTE = "positives only: not coded"
_REMEDY = "name the folder or .tgz of NLM's XML files (ecgen-radiology), or a folder with indiana_reports.csv"


def read_openi(path: Path | str) -> Reading:
    """Read Open-i from a folder or archive of XML files, or from `indiana_reports.csv`.

    Args:
        path: Folder, `.tgz`, `.tar.gz`, `.tar`, one `.xml`, or the CSV file.

    Raises:
        InputError: There is no such file, or it is not what it claims to be.
    """
    source = Path(path)
    if not source.exists():
        raise InputError(f"there is no {source}", _REMEDY)
    table = source / _CSV_NAME if source.is_dir() else source
    version: str | None
    if table.suffix.lower() == ".csv" and table.exists():
        entries, version = list(_from_csv(table)), file_version(table)
        notes = ["indiana_projections.csv names images: not used"] if table.with_name(_PROJECTIONS).exists() else []
    else:
        entries, notes = [_parse(name, xml) for name, xml in _xml_files(source)], []
        version = file_version(source) if source.is_file() else None
        _refuse_foreign(source, entries)
    corpus = Corpus("openi", OPENI_LICENCE, "any", str(source), version)
    return Reading(corpus, entries, (OPENI_LABELER,), len(entries), notes)


class _NoDoctype(ET.TreeBuilder):
    """Builds the tree of a document without a DOCTYPE: the place where entity bombs and outside files come from."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ET.ParseError(f"DOCTYPE {name} is not allowed")


def _xml_files(source: Path) -> Iterator[tuple[str, bytes | str]]:
    """Yield (name, content), or (name, reason) for a file that is too large to be a report."""
    if source.is_dir():
        for file in sorted(source.rglob("*.xml")):
            large = file.stat().st_size > MAX_XML_BYTES
            yield str(file.relative_to(source)), _too_large(file.stat().st_size) if large else file.read_bytes()
    elif source.suffix.lower() == ".xml":
        yield source.name, source.read_bytes()[: MAX_XML_BYTES + 1]
    else:
        yield from _archived(source)


def _archived(source: Path) -> Iterator[tuple[str, bytes | str]]:
    with refuse_damage(source, "a whole tar archive"):
        try:
            with tarfile.open(fileobj=io.BytesIO(_unpacked(source)), mode="r:") as archive:
                for member in archive:
                    if not member.isfile() or not member.name.lower().endswith(".xml"):
                        continue
                    stream = archive.extractfile(member) if member.size <= MAX_XML_BYTES else None
                    yield f"{source.name}/{member.name}", stream.read() if stream else _too_large(member.size)
        except tarfile.TarError as error:
            raise InputError(f"{source} is not a whole tar archive: {error}", _REMEDY) from error


def _unpacked(source: Path) -> bytes:
    with source.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    with gzip.open(source) if packed else source.open("rb") as stream:
        content = stream.read(MAX_ARCHIVE_BYTES + 1)
    if len(content) > MAX_ARCHIVE_BYTES:
        raise InputError(f"{source} unpacks to more than {MAX_ARCHIVE_BYTES:,} bytes", _REMEDY)
    return content


def _too_large(size: int) -> str:
    return f"{size:,} bytes"


def _parse(file: str, xml: bytes | str) -> Entry | Skipped:
    if isinstance(xml, str):
        return Skipped(file, None, f"larger than {MAX_XML_BYTES:,} bytes", xml)
    try:
        root = ET.fromstring(xml, ET.XMLParser(target=_NoDoctype()))
    except (ET.ParseError, ValueError, LookupError) as error:  # the latter two: an encoding that Python does not know
        return Skipped(file, None, "not XML", str(error))
    if root.tag != "eCitation":
        return Skipped(file, None, "not an Open-i report", f"its root is {root.tag}")
    uid = root.find("uId")
    report_id = (uid.get("id") or "").strip() if uid is not None else ""
    if not report_id:
        return Skipped(file, None, "no report id", "uId is missing")
    texts = {(part.get("Label") or "").lower(): "".join(part.itertext()) for part in root.iter("AbstractText")}
    return _entry(report_id, texts, ["".join(code.itertext()) for code in root.iterfind("MeSH/major")], file, None)


def _entry(report_id: str, texts: dict[str, str], codes: Iterable[str], file: str, row: int | None) -> Entry:
    sections = {name: texts[name].strip() for name in _SECTIONS if texts.get(name, "").strip()}
    coded = codes_to_findings(codes)
    labels = (
        finding_labels(report_id, dict.fromkeys(coded, "present"), OPENI_LABELER, "full", _NOTE, _LABELER_ID)
        if coded is not None
        else ()
    )
    return Entry(Report(report_id, "openi", sections), labels, file, row)


def _from_csv(table: Path) -> Iterator[Entry | Skipped]:
    for read in read_rows(table, required=_CSV_COLUMNS):
        if isinstance(read, Skipped):
            yield read
            continue
        row, cells = read
        uid = str(cells["uid"]).strip()
        texts = {name: str(cells.get(name) or "") for name in _SECTIONS}
        report_id = uid if uid.startswith("CXR") or not uid else f"CXR{uid}"
        yield _entry(report_id, texts, str(cells["MeSH"] or "").split(";"), table.name, row)


def _refuse_foreign(source: Path, entries: list[Entry | Skipped]) -> None:
    if not entries:
        raise InputError(f"{source} holds no XML files", _REMEDY)
    if not any(isinstance(entry, Entry) for entry in entries):
        first = next(entry for entry in entries if isinstance(entry, Skipped))
        raise InputError(f"{source} holds no Open-i report; the first file, {first.file}: {first.why}", _REMEDY)
