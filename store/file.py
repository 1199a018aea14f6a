"""The DuckDB file as such: how it is made and opened, and its encryption (AES-GCM, by DuckDB itself) if there is a key.

The key comes from the environment. Store, log and snapshots are encrypted with it, and a query's temporary files.
Reading needs nothing more. For writing DuckDB asks for OpenSSL, which its extension httpfs brings: the random numbers
of its own module are not good enough for keys. What stands outside the store is not encrypted: exports, a campaign's
folder of artefacts, and for the moment until the writer takes it in, a decision of a reviewer.
"""

import os
from pathlib import Path
from typing import Literal

import duckdb

from teachback.errors import SettingError, StoreError

__all__ = ["CIPHER", "KEY", "STORAGE_VERSION", "connect_file", "create_file", "encryption_state"]

KEY = "TEACHBACK_STORE_KEY"
# `openssl`, or `unsafe`: DuckDB's own module, for trials where the extension cannot be had.
CIPHER = "TEACHBACK_STORE_CIPHER"

# What a DuckDB must be to open a store. DuckDB 2.0's own format is for 2.0 alone, and other tools (its command line,
# DBeaver) come with an older one for a while; files are of the same size.
STORAGE_VERSION = "v1.5.0"

_ALIAS = "store"
_GET_IT = "with network once: `python -c \"import duckdb; duckdb.sql('INSTALL httpfs')\"`"


def connect_file(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file, encrypted with the key from the environment if there is one.

    Raises:
        StoreError: The file is encrypted and there is no key, or another; or it is not, and there is a key.
        SettingError: There is a key, and nothing to encrypt with.
        duckdb.Error: The file cannot be opened for any other reason.
    """
    key = os.environ.get(KEY)
    try:
        if not key:
            return duckdb.connect(str(path), read_only=read_only)
        return _attach(path, key, read_only=read_only)
    except duckdb.CatalogException as error:
        if "without a key" in str(error):
            raise StoreError(f"{path} is encrypted", f"give its key in {KEY}") from error
        if "is not encrypted" in str(error):
            raise StoreError(
                f"{path} is not encrypted, and {KEY} is set", "unset it, or import into a new store"
            ) from error
        raise
    except duckdb.InvalidInputException as error:
        if "Wrong encryption key" in str(error):
            raise StoreError(f"{path} is encrypted with another key than {KEY} has", "give the right one") from error
        raise


def create_file(path: Path) -> None:
    """Make an empty DuckDB file that other tools can open too: in the format of an older DuckDB, which costs nothing.

    Raises:
        SettingError: There is a key, and nothing to encrypt with.
        duckdb.Error: The file cannot be made.
    """
    key = os.environ.get(KEY)
    with duckdb.connect() as connection:
        if key:
            _load_cipher(connection)
        encrypted = f", ENCRYPTION_KEY {_quoted(key)}" if key else ""
        connection.execute(f"ATTACH {_quoted(str(path))} AS {_ALIAS} (STORAGE_VERSION '{STORAGE_VERSION}'{encrypted})")
        connection.execute(f"DETACH {_ALIAS}")


def encryption_state() -> Literal["off", "on", "unsafe", "impossible"]:
    """Tell whether new stores are encrypted: `impossible` where a key is set and httpfs is missing."""
    if not os.environ.get(KEY):
        return "off"
    if os.environ.get(CIPHER) == "unsafe":
        return "unsafe"
    with duckdb.connect() as connection:
        try:
            connection.execute("LOAD httpfs")
        except duckdb.Error:
            return "impossible"
    return "on"


def _attach(path: Path, key: str, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    try:
        if not read_only:
            _load_cipher(connection)
        connection.execute("SET temp_file_encryption = true")
        only = ", READ_ONLY" if read_only else ""
        connection.execute(f"ATTACH {_quoted(str(path))} AS {_ALIAS} (ENCRYPTION_KEY {_quoted(key)}{only})")
        connection.execute(f"USE {_ALIAS}")
        connection.execute("DETACH memory")  # so that a cursor, too, begins in the store
    except BaseException:
        connection.close()
        raise
    return connection


def _load_cipher(connection: duckdb.DuckDBPyConnection) -> None:
    cipher = os.environ.get(CIPHER, "openssl")
    if cipher == "unsafe":
        connection.execute("SET force_mbedtls_unsafe = true")
        return
    if cipher != "openssl":
        raise SettingError(f"{CIPHER} is {cipher!r}", "openssl or unsafe")
    try:
        connection.execute("LOAD httpfs")
    except duckdb.Error as error:
        raise SettingError(
            f"{KEY} is set, and DuckDB's extension httpfs, which encrypts, is not installed",
            f"{_GET_IT}; or for a trial, {CIPHER}=unsafe",
        ) from error


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
