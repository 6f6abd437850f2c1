"""Facts about the files of the course: what they import, what they name, and what importing costs."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {".git", ".venv", "build", "dist", "solved", "__pycache__"}

# From left to right: a module imports only modules of the groups before its own.
LAYERS = (
    {"syllabus", "environment", "progress_file", "gguf_conversion", "hub"},
    {"assets"},
    {"checkpoints", "grammar"},
    {"corpora"},
    {"tokenizers"},
    {"batching"},
    {"pretraining"},
    {"positions"},
    {"attention"},
    {"layers"},
    {"transformer", "gpt", "bert"},
    {"decoding", "inspection", "training", "data_parallel"},
    {"lora"},
    {"finetuning"},
    {"evaluation", "calibration"},
    {"project"},
)
RANK = {module: rank for rank, group in enumerate(LAYERS) for module in group}
# What a learner sees stands beside the library, which knows nothing of it.
FOR_LEARNERS = {
    "exercises": set(),
    "plotting": set(),
    "widgets": {"exercises", "plotting", *RANK},
    "progress_map": {"syllabus"},
    "learning": {"exercises", "widgets", "syllabus", "progress_file", "progress_map"},
}


def tree():
    """Every file that belongs to the course: what git tracks or would track, else all that is not generated."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode == 0:
        paths = [ROOT / name.decode("utf-8") for name in listed.stdout.split(b"\0") if name]
    else:
        paths = [path for path in ROOT.rglob("*") if not NOT_OURS & set(path.relative_to(ROOT).parts)]
    return sorted({path for path in paths if path.is_file()})


def read(path):
    """The text of a file; empty where it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


FILES = {path.relative_to(ROOT).as_posix(): read(path) for path in tree()}
PACKAGE = {name: ast.parse(text) for name, text in FILES.items() if re.fullmatch(r"course_lib/.*\.py", name)}


def code_of(name, text):
    """The Python of a source file or of a notebook's code cells, without IPython's own lines."""
    if name.endswith(".py"):
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", "\n".join("".join(cell["source"]) for cell in cells), flags=re.MULTILINE)


CODE = {name: ast.parse(code_of(name, text)) for name, text in FILES.items() if name.endswith((".py", ".ipynb"))}


def imports(name, module):
    """Full name of everything that a file of the package imports, anywhere in it."""
    found = set()
    package = name.split("/")[:-1]
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{start}.{alias.name}" for alias in node.names}
    return found


def part(full):
    """`course_lib.attention.causal_mask` -> `attention`."""
    return full.split(".")[1]


def course_imports(name, module):
    """Which parts of the package a file imports, its own left out."""
    own = name.split("/")[1].removesuffix(".py")
    found = {part(full) for full in imports(name, module) if full.startswith("course_lib.")}
    return {one for one in found if f"course_lib/{one}.py" in FILES or f"course_lib/{one}/__init__.py" in FILES} - {own}


# ------------------------------------------------------------------------------------------ imports


def test_imports_sees_every_form():
    source = "import torch.nn\nfrom .engine import x\nfrom . import y\nfrom ..z import w\nfrom course_lib import v\n"
    assert imports("course_lib/exercises/a.py", ast.parse(source)) >= {
        "torch.nn",
        "course_lib.exercises.engine.x",
        "course_lib.exercises.y",
        "course_lib.z.w",
        "course_lib.v",
    }


def test_every_module_has_a_place_in_the_order():
    parts = {name.split("/")[1].removesuffix(".py") for name in PACKAGE} - {"__init__"}
    assert parts <= set(RANK) | set(FOR_LEARNERS), "give the new module a place in LAYERS"


@pytest.mark.parametrize("name", [name for name in PACKAGE if name.count("/") > 1 or "__init__" not in name])
def test_imports_point_one_way(name):
    own = name.split("/")[1].removesuffix(".py")
    used = course_imports(name, PACKAGE[name])
    if own in RANK:
        assert not used & set(FOR_LEARNERS)
        assert {one for one in used if RANK[one] >= RANK[own]} == set()
    elif not name.startswith("course_lib/exercises/references/"):
        assert used <= FOR_LEARNERS[own]


JUDGES = [name for name in PACKAGE if re.fullmatch(r"course_lib/exercises/(references/)?\w+\.py", name)]


@pytest.mark.parametrize("name", [name for name in JUDGES if not name.endswith("/sandbox.py")])
def test_judges_import_torch_numpy_and_the_standard_library_only(name):
    outside = {full.split(".")[0] for full in imports(name, PACKAGE[name])} - sys.stdlib_module_names
    assert outside <= {"torch", "numpy", "course_lib"}


def in_fresh_python(code):
    """Run code in a new interpreter that reports sockets and files opened for writing; return what it printed."""
    watch = (
        "import os, sys, json\n"
        "seen = []\n"
        "def hook(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo'): seen.append(event)\n"
        "    if event == 'open' and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):\n"
        "        seen.append(str(arguments[0]))\n"
        "sys.addaudithook(hook)\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", watch + code], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_the_package_is_cheap():
    loaded, seen = in_fresh_python("import course_lib\nprint(json.dumps([sorted(sys.modules), seen]))")
    heavy = {
        "torch",
        "numpy",
        "transformers",
        "datasets",
        "matplotlib",
        "IPython",
        "ipywidgets",
        "course_lib.attention",
    }
    assert "course_lib" in loaded
    assert heavy & set(loaded) == set()
    assert seen == []


def test_importing_everything_asks_no_network():
    code = (
        "import course_lib, importlib, pkgutil\n"
        "for module in pkgutil.walk_packages(course_lib.__path__, 'course_lib.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(json.dumps([event for event in seen if event.startswith('socket.')]))"
    )
    assert in_fresh_python(code) == []


# ------------------------------------------------------------------------------------------ what files may say


def test_no_package_registry_is_named():
    dot = r"\."  # in parts, so that this file passes its own test
    hosts = re.compile(
        "|".join(["pypi" + dot + "org", "pythonhosted" + dot, "npmjs" + dot, "deb" + dot + "debian"]), re.I
    )
    assert [name for name, text in FILES.items() if hosts.search(text)] == []


def test_no_path_of_a_machine_is_named():
    folders = "|".join(["/" + "work/", "/" + "root/", "/" + "tmp/", "/" + "home/[a-z]+/", "/" + "Users/[A-Za-z]+/"])
    paths = re.compile(rf"(?<![\w.\]}}]){folders}|[A-Z]:\\+" + "Users")
    assert [f"{name}: {paths.search(text)[0]}" for name, text in FILES.items() if paths.search(text)] == []


def unsafe(node):
    """What a node of code does that this course does not do; None for everything else."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        return next((name for name in names if name.split(".")[0] in {"pickle", "dill", "cloudpickle", "joblib"}), None)
    if isinstance(node, ast.Call):
        if ast.unparse(node.func) == "torch.load":
            return "torch.load"
        for keyword in node.keywords:
            if keyword.arg in {"trust_remote_code", "allow_pickle"} and ast.unparse(keyword.value) != "False":
                return keyword.arg
    return None


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "torch.load(path)",
        "model(x, trust_remote_code=True)",
        "numpy.load(path, allow_pickle=yes)",
    ],
)
def test_unsafe_code_is_recognised(source):
    assert any(unsafe(node) for node in ast.walk(ast.parse(source)))


def test_nothing_is_unpickled_and_no_remote_code_is_trusted():
    found = [f"{name}: {unsafe(node)}" for name, module in CODE.items() for node in ast.walk(module) if unsafe(node)]
    assert [one for one in found if not one.startswith("tests/")] == []


def without_encoding(node):
    """True for a call that reads or writes text in whatever encoding the computer prefers."""
    if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
        return False
    function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    modes = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
    if function == "read_text":
        return not node.args
    if function == "write_text":
        return len(node.args) < 2
    if isinstance(node.func, ast.Name) and function == "open":
        return not any(isinstance(mode, str) and "b" in mode for mode in modes[-1:])
    return function == "open" and any(mode in ("r", "w", "a", "x", "r+", "w+", "a+") for mode in modes)


@pytest.mark.parametrize("source", ["p.read_text()", "p.write_text(x)", "open(p)", "open(p, 'w')", "p.open('a')"])
def test_missing_encoding_is_recognised(source):
    assert without_encoding(ast.parse(source).body[0].value)


@pytest.mark.parametrize(
    "source", ["p.read_text('utf-8')", "p.write_text(x, encoding='utf-8')", "open(p, 'rb')", "z.open(n)"]
)
def test_given_encoding_is_recognised(source):
    assert not without_encoding(ast.parse(source).body[0].value)


def test_text_is_read_and_written_as_utf_8():
    found = [
        f"{name}:{node.lineno}" for name, module in CODE.items() for node in ast.walk(module) if without_encoding(node)
    ]
    assert found == []


# ------------------------------------------------------------------------------------------ one test command


def workflow_steps():
    """(file, step) of every step of every workflow."""
    for name in (name for name in FILES if name.startswith(".github/workflows/")):
        for job in yaml.safe_load(FILES[name])["jobs"].values():
            yield from ((name, step) for step in job["steps"])


def test_workflows_run_only_the_documented_commands():
    commands = {step["run"] for _, step in workflow_steps() if "run" in step}
    assert commands == {"bash .ci/run", *(f"python course.py test --{tier}" for tier in ("fast", "newest", "slow"))}


def test_ci_runs_the_test_command_of_the_readme():
    assert re.search(r'"\$python" course\.py test$', FILES[".ci/run"].strip())
    assert "python course.py test" in FILES["README.md"]
    assert os.name == "nt" or os.access(ROOT / ".ci" / "run", os.X_OK)


def test_actions_are_pinned_and_may_only_read():
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]) for _, step in workflow_steps() if "uses" in step)
    workflows = [yaml.safe_load(text) for name, text in FILES.items() if name.startswith(".github/workflows/")]
    assert [workflow["permissions"] for workflow in workflows] == [{"contents": "read"}] * len(workflows)
    assert all("timeout-minutes" in job for workflow in workflows for job in workflow["jobs"].values())


def test_commands_named_in_the_documents_exist():
    known = set(re.findall(r'^    "(\w+)": \(', FILES["course.py"], flags=re.MULTILINE))
    documents = [text for name, text in FILES.items() if name.endswith(".md")]
    named = {word for text in documents for word in re.findall(r"python3? course\.py ([a-z]\w*)", text)}
    assert "test" in named
    assert named <= known
