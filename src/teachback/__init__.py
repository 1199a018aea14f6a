"""Teachback: teacher agents label radiology reports, a light student learns from them, round by round."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("teachback")
except PackageNotFoundError:  # a checkout on sys.path that was never installed
    __version__ = "0+uninstalled"

__all__ = ["__version__"]
