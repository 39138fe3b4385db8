"""python -m tests.deploy.image: the image's steps in an empty folder, and what they make, run as the image runs it.

No container engine is needed: what a step calls /opt and /app lies in a folder of our own. What the engine itself would
do (the base image, the user's number, a file system that refuses writes) is done as far as an ordinary process can: the
tree is made read-only, and whoever is root runs it without a root's rights.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.deploy.dockerfile import ROOT, Stage, Step, check_of, is_sent, stages

PLACES = ("/opt/", "/app")
STARTS = 60.0
"""Seconds that the bot may take to answer."""


class Built:
    """The file system of a stage, below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root
        self.environment: dict[str, str] = {}

    def here(self, text: str) -> str:
        """A path, or a line with paths, of the image as it is on this machine."""
        for place in PLACES:
            text = text.replace(place, f"{self.root}{place}")
        return text

    def run(self, stage: Stage, before: Path | None) -> None:
        """Each step of a stage; `before` is where the stage before it lies."""
        for step in stage.steps:
            print(f"  {step.word} {step.rest[:100]}", flush=True)
            match step.word:
                case "WORKDIR":
                    self.folder = Path(self.here(step.rest))
                    self.folder.mkdir(parents=True, exist_ok=True)
                case "ENV":
                    given = Stage("", "", (step,)).environment()
                    self.environment |= {name: self.here(value) for name, value in given.items()}
                case "COPY":
                    self._copy(step, before)
                case "RUN":
                    python = f"{sys.prefix}/bin:{Path(sys.base_prefix) / 'bin'}"
                    runs = os.environ | {"PATH": f"{python}:{os.environ['PATH']}"}
                    subprocess.run(["sh", "-ec", self.here(step.rest)], cwd=self.folder, env=runs, check=True)
                case _:
                    pass  # said to the engine

    def _copy(self, step: Step, before: Path | None) -> None:
        *sources, target = step.words
        if sources[0] == "--from=build":
            assert before is not None
            shutil.copytree(f"{before}{sources[1]}", self.here(target), symlinks=True, dirs_exist_ok=True)
            return
        for source in sources:
            put(ROOT / source, self.folder / target)


def put(source: Path, target: Path) -> None:
    """A file or a folder of the repository, less what .dockerignore keeps back."""
    if source.is_file():
        shutil.copy2(source, target / source.name if target.is_dir() else target)
        return
    for file in sorted(source.rglob("*")):
        if file.is_file() and is_sent(file.relative_to(ROOT).as_posix()):
            goal = target / file.relative_to(source)
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, goal)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def bare(command: Sequence[str]) -> list[str]:
    """Without the rights that let root write what is read-only, as the engine takes them away."""
    if os.geteuid() != 0:
        return [*command]
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise SystemExit("Run this as an ordinary user, or install setpriv (apt-get install util-linux).")
    return [setpriv, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--", *command]


def leave(root: Path) -> None:
    """Nothing below may be written; whoever is there may read it."""
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222 | 0o444 | (0o111 if path.is_dir() else 0))


def try_it(built: Built, stage: Stage, data: Path) -> None:
    """Start the bot in local mode, ask its health check until it says yes, stop it, and see that it says no."""
    variables = built.environment | {
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "DATABASE_URL": f"sqlite+aiosqlite:///{data}/bot.db",
        "PATH": f"{built.environment['PATH'].split(':')[0]}:/usr/bin:/bin",
    }
    (command,) = stage.all("CMD")
    before = snapshot(built.root)
    bot = subprocess.Popen(bare(command.words), cwd=built.folder, env=variables, start_new_session=True)
    try:
        ends = time.monotonic() + STARTS
        while not healthy(built, stage, variables):
            if bot.poll() is not None or time.monotonic() > ends:
                raise SystemExit("The bot does not answer its health check.")
            time.sleep(0.5)
    finally:
        os.killpg(bot.pid, signal.SIGTERM)
        code = bot.wait(timeout=40)
    if code != 0:
        raise SystemExit(f"The bot ended with {code}.")
    if healthy(built, stage, variables):
        raise SystemExit("The health check says yes where nothing runs.")
    if snapshot(built.root) != before:
        raise SystemExit("The bot wrote into the image's own files.")


def healthy(built: Built, stage: Stage, variables: dict[str, str]) -> bool:
    command = bare(check_of(stage))
    asked = subprocess.run(command, cwd=built.folder, env=variables, capture_output=True, check=False)
    return asked.returncode == 0


def snapshot(root: Path) -> set[tuple[str, int]]:
    return {(str(path), path.lstat().st_size) for path in root.rglob("*") if not path.is_dir()}


def main() -> None:
    """Build both stages and try the second."""
    build, final = stages()
    # short, and open to a user without rights
    folder = Path(tempfile.mkdtemp(prefix="tk-image-", dir="/tmp"))
    folder.chmod(0o755)
    root, kept, data = folder / "root", folder / "built", folder / "data"
    try:
        print("The first stage:")
        made = Built(root)
        made.run(build, None)
        root.rename(kept)  # an environment knows where it lies, so the second stage has the same place
        print("The second stage:")
        made = Built(root)
        made.run(final, kept)
        shutil.rmtree(kept)
        left = [str(path) for path in root.rglob("pip") if path.is_dir()]
        if left or (root / "app" / "requirements.txt").exists():
            raise SystemExit(f"Something of the build is left: {left}.")
        leave(root)
        data.mkdir()
        data.chmod(0o777)
        try_it(made, final, data)
        size = sum(path.lstat().st_size for path in root.rglob("*") if not path.is_dir()) / 1e6
        print(f"The image's steps make a bot that runs: {size:.0f} MB beside the base image.")
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
