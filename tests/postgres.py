"""A private PostgreSQL for the tests: started from installed binaries, on a unix socket, gone when they end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

CURE = "cure: apt-get install postgresql, or set TEST_DATABASE_URL"


def binaries() -> Path | None:
    """The folder of initdb and postgres, the newest version there is."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    found = shutil.which("initdb")
    resolved = Path(found).resolve().parent if found else None
    return resolved if resolved and (resolved / "postgres").exists() else None


@contextmanager
def private_server(*, durable: bool = False) -> Generator[str]:
    """The address of a server of our own. A `durable` one waits for the disk at each commit, as in production."""
    folder = binaries()
    assert folder is not None
    # a unix socket's path may have 107 bytes, and the server's own user must be able to walk to it
    root = Path(tempfile.mkdtemp(prefix="tk-pg-", dir="/tmp"))
    as_nobody = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
    if as_nobody:
        shutil.chown(root, "nobody")
    data = root / "data"
    try:
        subprocess.run(
            [*as_nobody, str(folder / "initdb"), "-D", str(data), "-A", "trust", "-U", "tests", "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        fsync = "on" if durable else "off"
        options = f"-k {root} -c listen_addresses='' -c fsync={fsync} -c max_connections=200"
        subprocess.run(
            [
                *as_nobody,
                str(folder / "pg_ctl"),
                "-D",
                str(data),
                "-o",
                options,
                "-l",
                str(root / "log"),
                "-w",
                "start",
            ],
            check=True,
            capture_output=True,
            cwd="/",
        )
        try:
            yield f"postgresql+asyncpg://tests@/postgres?host={root}"
        finally:
            subprocess.run(
                [*as_nobody, str(folder / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"],
                check=False,
                capture_output=True,
                cwd="/",
            )
    finally:
        shutil.rmtree(root, ignore_errors=True)
