"""The student's prompt, read from a file of the prompts room."""

import re
from importlib import resources

from teachback.errors import SettingError

__all__ = ["load_student_prompt"]

_PART = re.compile(
    r"^## (system|user|finding|diseases|diseases_json|verify)\n(.*?)\n?(?=^## |\Z)", flags=re.MULTILINE | re.DOTALL
)
_NEEDED = {"user": "{report}", "finding": "{finding}", "diseases": ""}
_OPTIONAL = {"diseases_json": "", "verify": "{disease}"}


def load_student_prompt(name: str = "default") -> dict[str, str]:
    """Read `prompts/student/<name>.md`.

    Returns:
        The parts `system`, `user`, `finding`, `diseases`, and where the file has them `diseases_json` and `verify`, as
        `Questions` takes them.

    Raises:
        SettingError: There is no such prompt, or a part or its placeholder is missing.
    """
    file = resources.files("teachback.prompts") / "student" / f"{name}.md"
    if not file.is_file():
        raise SettingError(f"there is no student prompt named {name!r}", "see the files in prompts/student/")
    parts = {match[1]: match[2].rstrip("\n") for match in _PART.finditer(file.read_text(encoding="utf-8"))}
    found = {part: placeholder for part, placeholder in _OPTIONAL.items() if part in parts}
    for part, placeholder in (_NEEDED | found).items():
        if part not in parts or placeholder not in parts[part]:
            raise SettingError(f"{file.name}: part '## {part}' with {placeholder or 'text'} is missing", "add it")
    return {"system": parts.get("system", ""), **{part: parts[part] for part in _NEEDED | found}}
