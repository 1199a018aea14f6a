"""`train.report_to`: any tracker of experiments that transformers and TRL know, or a word on why it cannot be used."""

import re
from typing import Any

from teachback.errors import MissingExtraError, SettingError

__all__ = ["open_tracker"]

_NONE = ("none", "")
# Where a tracker and its package are not called alike, and what is said does not name it.
_PACKAGES = {"azure_ml": "azureml-sdk", "comet_ml": "comet-ml", "flyte": "flytekit"}


def open_tracker(name: str) -> list[Any]:
    """Return the callbacks that report to a tracker; none for `none`.

    Args:
        name: As transformers calls it (`tensorboard`, `wandb`, `mlflow`, ...), or `all` that are installed.

    Raises:
        SettingError: No tracker is called so.
        MissingExtraError: Its package is missing, or it needs a setting of its own.
    """
    if name in _NONE:
        return []
    from transformers.integrations import integration_utils
    from transformers.integrations.integration_utils import (
        INTEGRATION_TO_CALLBACK,
        get_reporting_integration_callbacks,
    )

    if name != "all" and name not in INTEGRATION_TO_CALLBACK:
        known = ", ".join(["none", "all", *sorted(INTEGRATION_TO_CALLBACK)])
        raise SettingError(f"train.report_to: there is no tracker {name!r}", f"use one of {known}")
    # Asked first where it can be: some callbacks that fail while they are made fail once more when they are removed.
    if not getattr(integration_utils, f"is_{name}_available", lambda: True)():
        raise _missing(name, _PACKAGES.get(name, name))
    try:
        return [callback() for callback in get_reporting_integration_callbacks(name)]
    except (RuntimeError, ImportError) as error:
        said = " ".join(str(error).split())
        package = re.search(r"pip install ([^\s`']+)", said)
        if package is None and "environment variable" in said:
            raise SettingError(
                f"train.report_to: {name} cannot be used: {said}", "set it, or use another one"
            ) from error
        raise _missing(name, package[1].rstrip(".") if package else _PACKAGES.get(name, name)) from error


def _missing(name: str, package: str) -> MissingExtraError:
    return MissingExtraError(
        f"train.report_to: {name} needs the package {package}, which is not installed", f"pip install '{package}'"
    )
