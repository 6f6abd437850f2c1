"""A real JupyterLab on a copy of the notebooks, and a headless Chromium that works in it.

`served` starts the one and `browser` the other; a page of the browser then runs notebooks (`run_all`), and
`blank_widgets` and `errors` say what is wrong with what it shows.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from playwright.sync_api import BrowserContext, Locator, Page, sync_playwright

ROOT = Path(__file__).parent.parent
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
# Without these Chromium looks for its maker's servers at every start.
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LAPTOP = {"width": 1366, "height": 900}
START_SECONDS = 120
RUN_MILLISECONDS = 500_000
DRAW_MILLISECONDS = 30_000
TOKEN = "course"

# The outputs that hold a widget: JupyterLab draws each in a panel, all others without one. A progress bar hides its own
# when it has come to its end.
_WIDGETS = ".jp-OutputArea-output.lm-Panel:not(.lm-mod-hidden)"

# Those that should and show nothing. A picture without bytes has no width, and a widget whose model is gone says so in
# words, as one does that has not been drawn yet: ask until the answer stays.
_BLANK = """widgets => [...document.querySelectorAll(widgets)].map((output, place) => {
  const tell = what => `widget ${place + 1}: ${what}`;
  const failed = output.innerText.match(/Error displaying widget|model not found|Loading widget/);
  if (failed) return tell(failed[0]);
  if ([...output.querySelectorAll("img")].some(img => !(img.complete && img.naturalWidth > 0)))
    return tell("a picture without pixels");
  const seen = [...output.querySelectorAll("*")].filter(one => one.checkVisibility() && one.offsetHeight > 5);
  const full = output.innerText.trim() || seen.some(one => one.matches("img, canvas, svg, input, [role=slider]"));
  return seen.length && full ? null : tell("nothing to see");
}).filter(said => said)"""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a copy of the notebooks from `folder` with settings of its own; yields the address with its token."""
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_DATA_DIR": folder / "data",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "IPYTHONDIR": folder / "ipython",
        "COURSE_PROGRESS": folder / "progress.json",
    }
    _write_setting(folder, "apputils-extension/notification", {"fetchNews": "false", "checkForUpdates": False})
    # All cells are drawn, not those in view alone, so that a page can be searched for errors.
    _write_setting(folder, "notebook-extension/tracker", {"windowingMode": "none"})
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder / 'notebooks'}"]
    with (folder / "lab.log").open("w", encoding="utf-8") as log:
        environment = os.environ | {name: str(path) for name, path in own.items()}
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api?token={TOKEN}", server, folder / "lab.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:  # it waits for a kernel that was just started
                server.kill()
                server.wait(30)


def _write_setting(folder: Path, plugin: str, values: dict) -> None:
    path = folder / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")


@contextmanager
def browser(folder: Path) -> Iterator[BrowserContext]:
    """A Chromium with a fresh profile, whose pages have a laptop's size. There can be one at a time."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder / "profile", executable_path=CHROMIUM, args=ARGUMENTS, viewport=LAPTOP
        )
        try:
            yield context
        finally:
            context.close()


def write_notebook(path: Path, *sources: str) -> None:
    """A notebook of these code cells, for JupyterLab to open."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    nbformat.write(notebook, path)


def run_all(page: Page, address: str, notebook: str) -> None:
    """Open a notebook, run all its cells, and wait until the last has run."""
    start_all(page, address, notebook)
    waiting = page.locator(".jp-InputPrompt", has_text="*").first
    waiting.wait_for(state="attached")
    waiting.wait_for(state="detached", timeout=RUN_MILLISECONDS)


def start_all(page: Page, address: str, notebook: str) -> None:
    """Open a notebook and nothing beside it, and let all its cells run, without waiting for them."""
    page.goto(f"{address}/lab/tree/{notebook}?token={TOKEN}&reset", timeout=120_000)
    _wait_until_settled(page)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def shut_down_kernels(address: str) -> None:
    """End every kernel of this JupyterLab: leaving a page does not, and twenty of them do not fit into memory."""
    sessions, deadline = f"{address}/api/sessions", time.monotonic() + START_SECONDS
    while running := _read_json(f"{sessions}?token={TOKEN}"):
        request = urllib.request.Request(f"{sessions}/{running[0]['id']}?token={TOKEN}", method="DELETE")
        try:
            urllib.request.urlopen(request, timeout=60).close()
        except urllib.error.HTTPError:  # as long as that kernel is being started
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _read_json(address: str) -> list[dict]:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return json.load(answer)


def widget_outputs(page: Page) -> Locator:
    """The outputs of the open notebook that hold a widget."""
    return page.locator(_WIDGETS)


def blank_widgets(page: Page) -> list[str]:
    """What is wrong with the widgets of the open notebook that show nothing, once all have had time to be drawn."""
    deadline = time.monotonic() + DRAW_MILLISECONDS / 1000
    while (blank := page.evaluate(_BLANK, _WIDGETS)) and time.monotonic() < deadline:
        page.wait_for_timeout(300)
    return blank


def errors(page: Page) -> list[str]:
    """What cells of the open notebook raised or wrote to stderr."""
    kinds = ("application/vnd.jupyter.error", "application/vnd.jupyter.stderr")
    return page.locator(", ".join(f"[data-mime-type='{kind}']" for kind in kinds)).all_inner_texts()


def _wait_until_settled(page: Page, seconds: float = 2) -> None:
    """Wait until the kernel has been idle for a while: it reconnects while the page is still being built."""
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=120_000, state="attached")
    indicator = page.locator(".jp-Notebook-ExecutionIndicator").first
    idle, polls_a_second = 0, 5
    while idle < seconds * polls_a_second:
        page.wait_for_timeout(1000 / polls_a_second)
        idle = idle + 1 if indicator.get_attribute("data-status") == "idle" else 0


def screenshots(page: Page, folder: Path, step: int = 800) -> list[Path]:
    """Scroll from top to bottom and take a screenshot at each step, for a person to look at."""
    pane = page.locator(".jp-WindowedPanel-outer").first
    taken = []
    for position in range(0, pane.evaluate("pane => pane.scrollHeight"), step):
        pane.evaluate("(pane, top) => { pane.scrollTop = top }", position)
        page.wait_for_timeout(300)
        taken.append(folder / f"{len(taken):02d}.png")
        page.screenshot(path=taken[-1])
    return taken
