"""What a table of ICD-10-CM says of a code. A code is kept as it was given; here it is only looked up.

The table is the list of codes that comes with simple-icd-10-cm. Its own tree of codes, with everything that the
classification says of each, takes two seconds to build while nothing else runs; whether a code exists and whether it
is complete can be read off the list in a hundredth of that.
"""

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from teachback.errors import MissingExtraError

__all__ = ["CodeCheck", "check_code"]

CodeCheck = Literal["billable", "category", "unknown"]

_PACKAGE = "simple_icd_10_cm"
# Three characters, then a point if there are more: J90, J18.9, S22.39XA.
_CODE = re.compile(r"[A-Z][A-Z\d]{2}(?:\.[A-Z\d]{1,4})?")


def check_code(code: str) -> CodeCheck:
    """Look a code up in the table of ICD-10-CM.

    Args:
        code: The code, as it was given: `j90` or `J189` are not how a code is written, and unknown.

    Returns:
        `billable` for a code that needs no further characters, `category` for one that does, else `unknown`.

    Raises:
        MissingExtraError: The table is not installed.
    """
    if not _CODE.fullmatch(code):
        return "unknown"
    return _table().get(code.replace(".", ""), "unknown")


@lru_cache(maxsize=1)
def _table() -> dict[str, CodeCheck]:
    # The list is sorted, a code's longer ones right behind it, and holds chapters and blocks too (`10`, `J09-J18`).
    codes = _list_file().read_text(encoding="utf-8").split()
    table: dict[str, CodeCheck] = {}
    for code, following in zip(codes, [*codes[1:], ""], strict=True):
        table[code] = "category" if following.startswith(code) else "billable"
    return table


def _list_file() -> Path:
    spec = find_spec(_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    files = sorted(file for folder in folders or [] for file in Path(folder).glob("data/code-list-*.txt"))
    if not files:
        raise MissingExtraError("the table of ICD-10-CM is not installed", "run `pip install simple-icd-10-cm`")
    return files[-1]
