"""Ten learners run notebook 13 at once from one read-only cache: `python benchmarks/ten_learners.py`.

Writes benchmarks/results/ten_learners.json: the memory of each kernel at its peak, of all of them at the same moment,
and of one JupyterLab server, which every learner of a hub has as well. Linux only, for only there memory that is
shared between processes can be told from memory that is not:

- rss: all memory that a process has in use; what ten kernels share is in it ten times
- pss: the same, but each shared page is divided by the number of processes that share it, so that sums are right
- uss: what would be free if this one process ended

No process may write to the cache (a superuser gives up that privilege first), and after the run every file of it has
the size and time of change that it had before.
"""

import asyncio
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient

from course_lib import assets, syllabus
from tools import compare_runs

RESULTS = Path(__file__).parent / "results" / "ten_learners.json"
NOTEBOOK = syllabus.BY_NUMBER["13"]
LEARNERS = 10
THREADS = "1"
KINDS = ("rss", "pss", "uss")
# Without these two even the superuser obeys the permissions of files.
GIVEN_UP = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def main() -> None:
    """Make the shared cache, run one learner and then ten in a process that may not write to it, and record both."""
    with tempfile.TemporaryDirectory(prefix="course-shared-") as folder, read_only_cache(Path(folder)) as cache:
        before = listing(cache)
        command = [*(GIVEN_UP if os.geteuid() == 0 else []), sys.executable, __file__, str(cache)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
        measured = json.loads(done.stdout)
        assert listing(cache) == before, "somebody wrote to the shared cache"
    setting = {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("torch", "transformers")},
        "notebook": NOTEBOOK.number,
        "threads": int(THREADS),
    }
    RESULTS.write_text(json.dumps({**setting, **measured}, indent=1) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


@contextlib.contextmanager
def read_only_cache(folder: Path) -> Iterator[Path]:
    """A copy of what the notebook needs, as an administrator would lay it out: everybody reads, nobody writes."""
    cache = folder / "cache"
    for asset in assets.ASSETS.values():
        if NOTEBOOK.number in asset.notebooks:
            shutil.copytree(assets.fetch(asset.name), cache / asset.name)
    inside = [cache, *cache.rglob("*")]
    for path in inside:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield cache
    finally:
        for path in inside:
            path.chmod(0o755 if path.is_dir() else 0o644)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of everything below a folder, and of itself."""
    found = [folder, *folder.rglob("*")]
    return {path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def measure(cache: Path) -> dict:
    """What is recorded besides the setting."""
    try:
        (cache / "probe").touch()
    except OSError:
        alone, together = asyncio.run(room(cache, 1)), asyncio.run(room(cache, LEARNERS))
        return {"cache_is_read_only": True, "server_mib": server(), "alone": alone, "together": together}
    raise SystemExit(f"{cache} can be written to, so this would show nothing about a read-only cache")


async def room(cache: Path, learners: int) -> dict:
    """Run the notebook in so many kernels at once; all of them stay until the last one is done."""
    everybody_done = asyncio.Barrier(learners)
    kernels: dict[int, psutil.Process] = {}
    peaks: dict[int, dict[str, int]] = {}
    most = dict.fromkeys(KINDS, 0)
    start = time.monotonic()

    def sample() -> None:
        now = {number: kernel.memory_full_info() for number, kernel in kernels.items()}
        for number, memory in now.items():
            peak = peaks.setdefault(number, dict.fromkeys(KINDS, 0))
            peak.update({kind: max(peak[kind], getattr(memory, kind)) for kind in KINDS})
        most.update({kind: max(most[kind], sum(getattr(memory, kind) for memory in now.values())) for kind in KINDS})

    async def watch() -> None:
        while True:
            sample()
            await asyncio.sleep(0.5)

    async def learn(number: int, folder: Path) -> nbformat.NotebookNode:
        notebook = nbformat.read(Path(__file__).parents[1] / "notebooks" / f"{NOTEBOOK.stem}.ipynb", as_version=4)
        path = {"metadata": {"path": str(folder)}}
        client = NotebookClient(notebook, timeout=900, resources=path, coalesce_streams=True)
        env = os.environ | {"COURSE_CACHE": str(cache), "OMP_NUM_THREADS": THREADS, "HF_HUB_OFFLINE": "1"}
        async with client.async_setup_kernel(env=env | {"COURSE_PROGRESS": str(folder / "progress.json")}):
            kernels[number] = psutil.Process(client.km.provisioner.pid)
            for index, cell in enumerate(notebook.cells):
                await client.async_execute_cell(cell, index)
            await everybody_done.wait()
            watcher.cancel()  # before the first of them is gone
        return notebook

    with tempfile.TemporaryDirectory(prefix="course-learners-") as homes:
        folders = [Path(homes, str(number)) for number in range(learners)]
        for folder in folders:
            folder.mkdir()
        watcher = asyncio.create_task(watch())
        notebooks = await asyncio.gather(*(learn(number, folder) for number, folder in enumerate(folders)))
    return {
        "learners": learners,
        "finished": len(notebooks),
        "outputs_are_equal": report_differences(notebooks),
        "seconds": round(time.monotonic() - start),
        "peak_mib_of_each": [mebibytes(peaks[number]) for number in range(learners)],
        "peak_mib_of_all": mebibytes(most),
    }


def report_differences(notebooks: list[nbformat.NotebookNode]) -> bool:
    """True where all learners saw the same, but for live widgets; else says on stderr what another one saw."""
    for number, notebook in enumerate(notebooks):
        for change in compare_runs.changes(notebooks[0], notebook):
            print(f"learner {number}, not as learner 0: {compare_runs.described(change)}", file=sys.stderr)
            return False
    return True


def mebibytes(sizes: dict[str, int]) -> dict[str, int]:
    """Bytes as whole MiB."""
    return {kind: round(size / 2**20) for kind, size in sizes.items()}


def server() -> dict[str, int]:
    """Memory of one JupyterLab server that has answered a first question, in MiB."""
    with tempfile.TemporaryDirectory(prefix="course-server-") as folder:
        places = {f"JUPYTER_{kind}_DIR": folder for kind in ("CONFIG", "DATA", "RUNTIME")}
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--port=0", "--allow-root"]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, env=os.environ | places, cwd=folder, **streams)
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError, ValueError, StopIteration):  # it is not there yet
                    told = json.loads(next(Path(folder).glob("jpserver-*.json")).read_text(encoding="utf-8"))
                    with urllib.request.urlopen(f"{told['url']}api", timeout=10):
                        memory = psutil.Process(process.pid).memory_full_info()
                        return mebibytes({kind: getattr(memory, kind) for kind in KINDS})
                time.sleep(0.5)
            raise SystemExit("JupyterLab did not answer within two minutes")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]))))
    else:
        main()
