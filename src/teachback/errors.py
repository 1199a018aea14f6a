"""Every error that Teachback raises on purpose.

    TeachbackError                 what the user can mend; the CLI prints it without a traceback and exits 2
    |-- InputError                 a file or a row is not what it claims to be
    |-- SettingError               an option, environment variable or config value is wrong
    |-- StoreError                 the DuckDB store is missing, locked, or of another version
    |-- MissingExtraError          a part of the installation is missing
    |-- EgressError                a corpus's policy forbids sending its text there
    |-- TeacherError               a teacher cannot go on at all (wrong key, unknown model, unreachable)
    |   |-- BudgetError          what the run may cost is spent; what was paid is stored
    |   `-- TeacherReplyError      a teacher's answer on one report cannot be used; becomes that report's failure row
    `-- TrainingError              a round cannot go on (no rows, no base, an answer longer than the context)

Abstaining is a value, failing is an exception.
"""

__all__ = [
    "BudgetError",
    "EgressError",
    "InputError",
    "MissingExtraError",
    "SettingError",
    "StoreError",
    "TeachbackError",
    "TeacherError",
    "TeacherReplyError",
    "TrainingError",
]


class TeachbackError(Exception):
    """Base of all of Teachback's errors.

    Args:
        message: What is wrong, naming the file, row or setting.
        remedy: What the user can do about it, as one sentence or command.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.remedy}" if self.remedy else self.message


class InputError(TeachbackError):
    """A file or a row is not what it claims to be."""


class SettingError(TeachbackError):
    """An option, environment variable or config value is wrong."""


class StoreError(TeachbackError):
    """The store is missing, locked by another writer, or of another version."""


class MissingExtraError(TeachbackError):
    """An optional part of the installation is missing."""


class EgressError(TeachbackError):
    """The corpus's policy forbids sending its reports to that address."""


class TeacherError(TeachbackError):
    """A teacher cannot go on at all: wrong key, unknown model, endpoint unreachable."""


class BudgetError(TeacherError):
    """What the run may cost is spent. Everything that was paid is stored, and the next run starts from there."""


class TeacherReplyError(TeacherError):
    """A teacher's answer on one report cannot be used.

    Args:
        report_id: The report that was asked about.
        reason: What is wrong with the answer.
    """

    def __init__(self, report_id: str, reason: str) -> None:
        super().__init__(f"report {report_id}: {reason}", "run the same `teachback label` command again to retry it")
        self.report_id = report_id
        self.reason = reason


class TrainingError(TeachbackError):
    """A round cannot go on."""
