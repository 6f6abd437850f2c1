"""pyproject.toml, constraints.txt and environment.yml say the same, and the wheel carries what Colab needs."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import course
import course_lib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINS = course.pins()
DISTRIBUTIONS = {"PIL": "pillow", "markdown_it": "markdown-it-py", "yaml": "pyyaml", "sklearn": "scikit-learn"}
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def requirements():
    """Every requirement of the project, extras included."""
    return [Requirement(text) for group in [PROJECT["dependencies"], *EXTRAS.values()] for text in group]


# ------------------------------------------------------------------------------------------ versions


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_tested_version_of_each_requirement_satisfies_it(requirement):
    pin = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin, prereleases=True)
    assert not requirement.url


def test_constraints_are_names_and_versions_only():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if not line.startswith("#")]
    assert [line for line in wanted if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)] == []
    assert len(PINS) == len(wanted), "a package is pinned twice"
    assert wanted == sorted(wanted, key=str.lower)


def reachable(name, extras=()):
    """Names of the installed packages that a package with these extras brings, itself included."""
    found, todo = set(), [(name, frozenset(extras))]
    while todo:
        package, wanted = todo.pop()
        if (package, wanted) in found:
            continue
        found.add((package, wanted))
        for text in importlib.metadata.distribution(package).requires or []:
            requirement = Requirement(text)
            markers = [{"extra": extra} for extra in ("", *wanted)]
            if requirement.marker is None or any(requirement.marker.evaluate(one) for one in markers):
                todo.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {package for package, _ in found}


@pytest.mark.skipif(
    sys.platform != "linux", reason="constraints.txt was made on Linux; others bring packages of their own"
)
def test_everything_that_gets_installed_is_pinned():
    assert reachable("attention-course", ("docs", "lab", "test")) - {"attention-course"} - set(PINS) == set()


def test_torch_is_pinned_without_a_local_part():
    assert re.fullmatch(r"2\.\d+\.\d+", PINS["torch"])


def test_floors_are_as_low_as_colab():
    """What Colab has is good enough, so that nothing is replaced there."""
    lines = (ROOT / "tests" / "colab.txt").read_text(encoding="utf-8").splitlines()
    colab = dict(line.replace(".*", ".0").split("==") for line in lines if not line.startswith("#"))
    core = {canonicalize_name(r.name): r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    assert {name for name, version in colab.items() if version not in core[name]} == set()
    assert set(colab) == {"ipython", "ipywidgets", "matplotlib", "numpy", "torch", "transformers"}
    assert "jupyterlab" not in core


def imported(*folders):
    """Packages from outside that the Python files of these folders import, anywhere in them."""
    found = set()
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    with_scripts = (ROOT / "tests", ROOT / "docs" / "_ext", ROOT / "benchmarks")
    beside = (path.stem for folder in with_scripts for path in folder.glob("*.py"))
    ours = {"course_lib", "course", "tools", "tests", "benchmarks", *beside}
    packages = found - sys.stdlib_module_names - ours - {"google"}  # google.colab is there on Colab only
    return {DISTRIBUTIONS.get(name, canonicalize_name(name)) for name in packages}


def declared(*groups):
    return {canonicalize_name(Requirement(text).name) for group in groups for text in group}


def test_everything_the_package_imports_is_declared():
    assert imported(ROOT / "course_lib") - declared(PROJECT["dependencies"]) == set()


def test_everything_the_tests_and_tools_import_is_declared():
    everything = declared(PROJECT["dependencies"], *EXTRAS.values())
    assert imported(ROOT / "tests", ROOT / "tools") - everything == set()


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d.*?)\]", changelog, re.MULTILINE)[1]
    assert PROJECT["version"] == course_lib.__version__ == citation["version"] == newest


def test_python_is_the_same_everywhere():
    floor = re.fullmatch(r">=(3\.\d+)", PROJECT["requires-python"])[1]
    assert f"sys.version_info < ({floor.replace('.', ', ')})" in (ROOT / "course.py").read_text(encoding="utf-8")
    assert f"python={floor}" in ENVIRONMENT["dependencies"]
    container = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    assert f"python:{floor}" in container


# ------------------------------------------------------------------------------------------ Binder and conda


def test_environment_installs_the_package_at_the_tested_versions():
    conda = [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
    assert conda == ["python=3.11", "pip"], "anything more would come unpinned from conda"
    (by_pip,) = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
    assert by_pip == [f"--extra-index-url {course.CPU_WHEELS}", "-c constraints.txt", "-e .[lab]"]


@pytest.mark.skipif(sys.platform == "win32", reason="repo2docker does not run on Windows")
def test_binder_builds_from_environment_yml():
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)
    dockerfile = done.stdout + done.stderr
    assert done.returncode == 0, dockerfile[-2000:]
    update = dockerfile.index('env update -p ${NB_PYTHON_PREFIX} --file "environment.yml"')
    # The environment is made from files of the course, so they are copied first.
    assert 0 < dockerfile.index("COPY --chown=0:0 src/ ${REPO_DIR}/") < update
    assert "Building conda environment for python=3.11" in dockerfile


# ------------------------------------------------------------------------------------------ the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_the_package_its_data_and_its_licences(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = [path for path in (ROOT / "course_lib").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {path.relative_to(ROOT).as_posix() for path in files}
    expected |= {f"course_lib/data/{path.name}" for path in (ROOT / "data").iterdir() if path.is_file()}
    expected |= {f"course_lib/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "benchmarks/results").iterdir()}
    assert expected <= names
    assert "course_lib/data/README.md" in names
    assert {name.split("/")[0] for name in names} == {"course_lib", f"attention_course-{PROJECT['version']}.dist-info"}
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "LICENSE-TEXT"}


def test_package_runs_from_the_wheel_alone(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import course_lib\n"
        "print(course_lib.where_installed())\n"
        "print(course_lib.assets.own_data().relative_to(sys.argv[1]).as_posix())\n"
        "print((course_lib.assets.own_data() / 'README.md').is_file())\n"
        "print(len(course_lib.assets.recorded('translation_seeds')['seeds']))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "installed")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines() == [
        f"course_lib {PROJECT['version']} is installed in this Python environment",
        "course_lib/data",
        "True",
        "3",
    ]


def test_licences():
    assert PROJECT["license"] == "Apache-2.0"
    code = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in code
    assert "Version 2.0, January 2004" in code
    assert "CC BY 4.0" in (ROOT / "LICENSE-TEXT").read_text(encoding="utf-8")
