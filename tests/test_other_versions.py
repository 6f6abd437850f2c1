"""Notebooks and explorers at other versions than the tested ones: Colab's, and transformers at its declared floor.

Each environment is made new, the notebook's own first cell installs the package into it from a tagged repository on
this computer, and what the notebooks then print is compared with what is stored. The torch is the tested one.
"""

import json
import os
import re
import shutil
import subprocess
import tomllib
import venv
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import course
import course_lib
from course_lib import widgets
from tools import badges, compare_runs, notebook_pipeline

ROOT = Path(__file__).resolve().parent.parent
PINS = course.pins()
CORE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
NUMBERS = ("02", "10", "15")
WIDGET_TESTS = sorted((ROOT / "tests").glob("test_widgets_*.py"))
USED_BY_THEM = ("tests/pictures.py", "benchmarks/explorers.py", "benchmarks/rounds.py")


def first_cell():
    """The set-up cell, the same in every notebook."""
    return next(
        cell for cell in notebook_pipeline.read_twin(notebook_pipeline.twins()[0]).cells if cell.cell_type == "code"
    )


def colab():
    """(what is there before the package comes, what pip is held to while it comes): all else is the newest."""
    lines = (ROOT / "tests" / "colab.txt").read_text(encoding="utf-8").splitlines()
    kernel = "ipykernel==6.17.1"  # of the year of IPython 7.34
    return [*(line for line in lines if not line.startswith(("#", "torch=="))), kernel], []


def floor():
    """The lowest transformers that pyproject.toml declares, all else as pinned but for what it asks for itself."""
    (specifier,) = (one.specifier for one in map(Requirement, CORE) if one.name == "transformers")
    (lowest,) = (one.version for one in specifier if one.operator == ">=")
    free = ("transformers", "huggingface-hub", "tokenizers")
    pinned = [f"{name}=={version}" for name, version in PINS.items() if name not in free]
    return [f"transformers=={lowest}", "ipykernel"], pinned


ENVIRONMENTS = {"colab": colab, "declared floor of transformers": floor}


# ------------------------------------------------------------------------------------------ quick


def test_first_cell_disturbs_colab_as_little_as_can_be():
    (line,) = re.findall(r"%pip (.+)", first_cell().source)
    requirement = f"attention-course @ git+https://github.com/{badges.repository()}@v{course_lib.__version__}"
    assert line == f'install --quiet "{requirement}"', "no --upgrade, no extras, the tag of this version"


def test_documents_show_the_first_cell_of_this_version():
    shown = [path for path in ROOT.glob("docs/**/*.md") if "%pip install" in path.read_text(encoding="utf-8")]
    assert {path.name for path in shown} >= {"authoring.md", "colab.md"}
    lines = {line.strip() for path in shown for line in path.read_text(encoding="utf-8").splitlines() if "%pip" in line}
    assert lines == {re.search(r"%pip .+", first_cell().source)[0]}


def test_every_explorer_is_run_at_other_versions():
    tested = "\n".join(path.read_text(encoding="utf-8") for path in WIDGET_TESTS)
    assert [name for name in widgets.__all__ if not re.search(rf"\b{name}\(", tested)] == []


def test_the_declared_floor_is_what_is_installed():
    first, pinned = floor()
    assert re.fullmatch(r"transformers==5\.\d+(\.\d+)?", first[0])
    assert not any(one.startswith(("transformers==", "tokenizers==")) for one in pinned)
    assert f"torch=={PINS['torch']}" in pinned


# ------------------------------------------------------------------------------------------ environments


def released(folder):
    """A repository of the files as they are, with the tag that the first cell asks for."""

    def git(*arguments, cwd=folder):
        return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True).stdout

    folder.mkdir()
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.decode("utf-8").split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git("init", "-q")
    git("add", "-A", "-f")
    git("-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-q", "-m", "As it is")
    git("tag", f"v{course_lib.__version__}")
    return folder


def made(folder, first, held):
    """An environment with these requirements and the tested torch, and the variables of a kernel that runs in it."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    (folder / "held.txt").write_text("\n".join(held), encoding="utf-8")
    kernel = folder / "jupyter" / "kernels" / "other"
    kernel.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "other", "language": "python"}), encoding="utf-8"
    )
    repository = released(folder / "repository")
    variables = {
        "JUPYTER_PATH": str(folder / "jupyter"),
        "PIP_CONSTRAINT": str(folder / "held.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "MPLBACKEND": "",
        "PYTHONPATH": "",
        # In place of the network: the address of the first cell leads to the repository above.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{badges.repository()}",
    }
    environment = SimpleNamespace(folder=folder, python=python, variables=variables)
    torch = f"torch=={PINS['torch']}"
    quick = ["--retries", "0", "--timeout", "15", "--no-deps", "--index-url", course.CPU_WHEELS]
    run(environment, "-m", "pip", "install", torch, *quick)  # where it cannot be reached, the next line brings it
    done = run(environment, "-m", "pip", "install", torch, *first)
    assert done.returncode == 0, done.stdout[-3000:]
    return environment


def run(environment, *arguments, cwd=None):
    """Run the environment's Python; its output is kept."""
    return subprocess.run(
        [str(environment.python), *arguments],
        cwd=cwd or environment.folder,
        env={name: value for name, value in (os.environ | environment.variables).items() if value},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def versions(environment):
    """Package -> version of everything installed."""
    done = run(environment, "-m", "pip", "list", "--format", "json")
    (listed,) = [line for line in done.stdout.splitlines() if line.startswith("[{")]
    return {canonicalize_name(one["name"]): one["version"] for one in json.loads(listed)}


def execute(environment, notebook):
    """Run a notebook in the environment, in a folder that holds nothing else, as Colab does."""
    content = environment.folder / "content"
    content.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.variables.items():
            patch.setenv(name, value) if value else patch.delenv(name, raising=False)
        notebook_pipeline.execute(notebook, kernel_name="other", folder=content)
    return notebook


@pytest.fixture(scope="module", params=ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def installed(request, tmp_path_factory):
    """An environment into which the first cell has installed the package, with the versions before and after."""
    folder = tmp_path_factory.mktemp("other")
    environment = made(folder, *request.param())
    environment.before = versions(environment)
    cell = nbformat.v4.new_code_cell(first_cell().source)
    execute(environment, nbformat.v4.new_notebook(cells=[cell]))
    environment.said = "".join(output.get("text", "") for output in cell.outputs)
    environment.after = versions(environment)
    yield environment
    shutil.rmtree(folder)  # 2 GB


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_first_cell_installs_the_package_and_changes_nothing(installed):
    assert f"course_lib {course_lib.__version__} is installed in this Python environment\n" in installed.said
    assert "attention-course" not in installed.before
    assert {name: installed.after.get(name) for name in installed.before} == installed.before
    assert {"nbval", "playwright", "sphinx"} & set(installed.after) == set(), "an extra was pulled in"


@pytest.mark.slow
@pytest.mark.assets
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", NUMBERS)
def test_notebook_gives_the_stored_outputs(installed, number):
    (twin,) = notebook_pipeline.twins([number])
    notebook = execute(installed, notebook_pipeline.read_twin(twin))
    notebook_pipeline.strip(notebook)
    stored = nbformat.read(notebook_pipeline.notebook_path(twin), as_version=4)
    found = list(compare_runs.changes(stored, notebook))
    texts = [change for change in found if not change.kind.startswith(compare_runs.PICTURE)]
    # The first cell says where the package is installed, and that is elsewhere. Letters are drawn by matplotlib's
    # version, so of a picture only its presence is compared.
    assert [compare_runs.described(change) for change in texts if change.cell > 1] == []
    assert all(change.before and change.after for change in found)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_explorers(installed):
    for path in (*WIDGET_TESTS, *(ROOT / name for name in USED_BY_THEM)):
        place = installed.folder / path.relative_to(ROOT)
        place.parent.mkdir(exist_ok=True)
        shutil.copy(path, place)
    (installed.folder / "tests" / "__init__.py").touch()  # before a package of that name among the installed ones
    done = run(installed, "-m", "pip", "install", f"pytest=={PINS['pytest']}")
    assert done.returncode == 0, done.stdout[-3000:]
    assert {name: versions(installed)[name] for name in installed.after} == installed.after
    files = [str(path.relative_to(ROOT)) for path in WIDGET_TESTS]
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore", "-o", f"pythonpath={installed.folder / 'benchmarks'}"]
    done = run(installed, "-m", "pytest", *options, *files)
    assert done.returncode == 0, done.stdout[-5000:]
    assert re.search(r"\d+ passed", done.stdout) and "skipped" not in done.stdout
