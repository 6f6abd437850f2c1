"""The launcher: what it installs, what it leaves alone, and how each failure ends.

Nothing is downloaded: the virtual environments are real, but the pip in them is a stub that notes how it was called
and fails as it is told to.
"""

import ast
import builtins
import errno
import functools
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types
import venv
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "course.py"
COMMANDS = ["lab", "test", "fetch", "doctor", "build", "solved", "site", "slides", "bench", "badges"]

STUB_PIP = """
import json, os, sys, time
from pathlib import Path
folder = Path(sys.prefix).parent
with (folder / "pip-calls").open("a", encoding="utf-8") as calls:
    calls.write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
told = json.loads((folder / "pip-told").read_text(encoding="utf-8")) if (folder / "pip-told").exists() else {}
output, code, seconds = told.get("torch" if "--index-url" in sys.argv else sys.argv[1], ["Collecting numpy", 0, 0])
print(output, flush=True)
(folder / "pip-pid").write_text(str(os.getpid()), encoding="utf-8")
time.sleep(seconds)
sys.exit(code)
"""
STUBS = {
    "course_lib/assets.py": """
import sys
def cache_dir():
    return "the cache"
if __name__ == "__main__":
    print("assets", *sys.argv[1:], flush=True)
    sys.exit({assets})
""",
    "jupyterlab/__main__.py": "import json, sys; print('lab', json.dumps(sys.argv[1:]), flush=True)",
    "jupyterlab/labapp.py": """
class LabApp:
    def initialize_server(argv):
        return LabApp
    class http_server:
        stop = staticmethod(lambda: None)
""",
    "psutil.py": """
class virtual_memory:
    total, available = 8e9, 6e9
""",
}
PROJECT = """
[project]
name = "tiny"
requires-python = ">=3.11"
dependencies = ["numpy>=2"]
[project.optional-dependencies]
lab = ["jupyterlab"]
test = ["pytest"]
"""
PINS = "# tested\nnumpy==2.3.5\ntorch==2.13.0\n"


def load(folder, monkeypatch):
    """Load the launcher of a folder, with a `venv` that makes a real environment around the stub of pip."""
    spec = importlib.util.spec_from_file_location("launcher", folder / "course.py")
    launcher = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launcher)
    ask = launcher.ask

    def ask_without_ensurepip(python, *arguments):
        if arguments[:2] != ("-m", "venv"):
            return ask(python, *arguments)
        venv.create(arguments[2], symlinks=os.name != "nt")
        library = "Lib" if os.name == "nt" else f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
        pip = Path(arguments[2]) / library / "site-packages" / "pip"
        pip.mkdir()
        (pip / "__init__.py").touch()
        (pip / "__main__.py").write_text(STUB_PIP, encoding="utf-8")
        return True, ""

    monkeypatch.setattr(launcher, "ask", ask_without_ensurepip)
    monkeypatch.setattr(launcher, "has_gpu", lambda: False)
    return launcher


def lay_out(folder):
    """A course as small as the launcher can take, in a folder whose name is no plain word."""
    folder.mkdir()
    shutil.copy(SOURCE, folder)
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "constraints.txt").write_text(PINS, encoding="utf-8")
    for name, text in STUBS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace("{assets}", "0"), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    return lay_out(tmp_path / "mein Kürs ü")


@pytest.fixture
def launcher(folder, monkeypatch):
    return load(folder, monkeypatch)


def pip_calls(folder):
    """How pip was called since the last time somebody looked: [(arguments, environment)]."""
    noted = folder / "pip-calls"
    calls = [json.loads(line) for line in noted.read_text(encoding="utf-8").splitlines()] if noted.exists() else []
    noted.unlink(missing_ok=True)
    return calls


def tell_pip(folder, **told):
    """Make pip answer (output, exit code, seconds) for `torch`, `install` or `check`."""
    (folder / "pip-told").write_text(json.dumps(told), encoding="utf-8")


def only_sentence(capfd):
    """What was written to stderr: one line, with a full stop, and no traceback."""
    error = capfd.readouterr().err.strip()
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1
    assert error.endswith(".")
    return error


# ------------------------------------------------------------------------------------------ old Pythons


def test_parses_on_python_3_6():
    ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_only_sys_is_imported_before_the_version_is_checked():
    body = ast.parse(SOURCE.read_text(encoding="utf-8")).body
    check = next(i for i, node in enumerate(body) if isinstance(node, ast.If))
    assert ast.unparse(body[check].test) == "sys.version_info < (3, 11)"
    assert [ast.unparse(node) for node in body[1:check]] == ["import sys"]


def test_imports_only_the_standard_library():
    names = [node for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))) if isinstance(node, ast.Import)]
    assert {alias.name.split(".")[0] for node in names for alias in node.names} <= sys.stdlib_module_names


def test_old_python_ends_in_one_sentence(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 8, 19))
    code = compile(SOURCE.read_text(encoding="utf-8"), "course.py", "exec")
    with pytest.raises(SystemExit) as stopped:
        exec(code, {"__builtins__": builtins, "__file__": str(SOURCE), "__name__": "old"})
    assert "needs Python 3.11 or newer, and this is Python 3.8:" in str(stopped.value)


# ------------------------------------------------------------------------------------------ the command line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(launcher, name, capsys):
    with pytest.raises(SystemExit) as stopped:
        launcher.main([name, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: python course.py {name}")
    assert "examples:\n  python course.py" in text


def test_overview_names_every_command(launcher, capsys):
    assert launcher.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert list(launcher.COMMANDS) == COMMANDS
    assert all(f"\n  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize(("typed", "meant"), [("tset", "test"), ("docter", "doctor"), ("solve", "solved")])
def test_unknown_command_names_the_closest(launcher, typed, meant, capsys):
    assert launcher.main([typed]) == 2
    error = capsys.readouterr().err
    assert error.startswith("usage:")
    assert f"There is no command {typed!r}. Did you mean {meant!r}?" in error


def test_unknown_command_like_nothing(launcher, capsys):
    assert launcher.main(["xyzzy"]) == 2
    assert "Did you mean" not in capsys.readouterr().err


def test_fast_and_slow_exclude_each_other(launcher):
    with pytest.raises(SystemExit) as stopped:
        launcher.main(["test", "--fast", "--slow"])
    assert stopped.value.code == 2


# ------------------------------------------------------------------------------------------ setting up


def test_first_run_installs_torch_for_the_cpu_and_then_the_rest(launcher, folder, monkeypatch):
    monkeypatch.setattr(launcher.sys, "platform", "linux")
    launcher.set_up(["lab"])
    (torch, _), (rest, _) = pip_calls(folder)
    assert torch[:2] == ["install", "torch==2.13.0"]
    assert torch[torch.index("--index-url") + 1] == launcher.CPU_WHEELS
    assert torch[torch.index("--retries") + 1] == "0"
    assert "--no-deps" in torch
    assert rest == ["install", "-e", ".[lab]", "-c", "constraints.txt"]


def test_second_run_installs_nothing(launcher, folder, capsys):
    launcher.set_up(["lab"])
    pip_calls(folder)
    capsys.readouterr()
    launcher.set_up(["lab"])
    assert pip_calls(folder) == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("platform", "gpu"), [("darwin", False), ("win32", False), ("linux", True)])
def test_plain_torch_where_the_cpu_build_is_not_wanted(launcher, folder, monkeypatch, platform, gpu):
    monkeypatch.setattr(launcher.sys, "platform", platform)
    monkeypatch.setattr(launcher, "has_gpu", lambda: gpu)
    launcher.set_up(["lab"])
    assert [arguments for arguments, _ in pip_calls(folder)] == [["install", "-e", ".[lab]", "-c", "constraints.txt"]]


def test_unreachable_index_of_pytorch_is_no_failure(launcher, folder, monkeypatch, capsys):
    monkeypatch.setattr(launcher.sys, "platform", "linux")
    launcher.make_venv()
    tell_pip(folder, torch=["NewConnectionError", 1, 0])
    launcher.set_up(["lab"])
    assert len(pip_calls(folder)) == 2
    assert "cannot be reached: the download may be larger" in capsys.readouterr().out
    launcher.set_up(["lab"])
    assert pip_calls(folder) == []


def test_pip_gets_a_clean_environment(launcher, folder, monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "MPLBACKEND"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    launcher.set_up(["lab"])
    _, environment = pip_calls(folder)[0]
    assert not {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "MPLBACKEND"} & set(environment)
    assert environment["PIP_USER"] == "0"
    assert environment["PYTHONNOUSERSITE"] == environment["PIP_DISABLE_PIP_VERSION_CHECK"] == "1"
    assert environment["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert Path(environment["PATH"].split(os.pathsep)[0]) == launcher.PYTHON.parent


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("constraints.txt", "2.3.5", "2.3.7"),
        ("pyproject.toml", "numpy>=2", "numpy>=2.1"),
        ("pyproject.toml", "pytest", "ruff"),
    ],
)
def test_another_requirement_is_installed(launcher, folder, file, old, new):
    launcher.set_up(["lab"])
    pip_calls(folder)
    text = (folder / file).read_text(encoding="utf-8")
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    launcher.set_up(["lab"])
    assert pip_calls(folder)


def test_a_comment_in_the_constraints_installs_nothing(launcher, folder):
    launcher.set_up(["lab"])
    pip_calls(folder)
    (folder / "constraints.txt").write_text("# another comment\n" + PINS, encoding="utf-8")
    launcher.set_up(["lab"])
    assert pip_calls(folder) == []


def test_extras_add_up(launcher, folder):
    launcher.set_up(["lab"])
    pip_calls(folder)
    launcher.set_up(["test"])
    assert pip_calls(folder)[-1][0][2] == ".[lab,test]"
    launcher.set_up(["lab"])
    assert pip_calls(folder) == []


def test_newest_leaves_the_constraints_out_and_is_undone_by_the_next_run(launcher, folder):
    launcher.set_up(["lab", "test"], pinned=False)
    arguments = pip_calls(folder)[-1][0]
    assert "-c" not in arguments
    assert arguments[-3:] == ["--upgrade", "--upgrade-strategy", "eager"]
    launcher.set_up(["lab"])
    assert pip_calls(folder)[-1][0] == ["install", "-e", ".[lab,test]", "-c", "constraints.txt"]


def test_quiet_output_is_one_line_a_phase_and_the_rest_is_in_the_log(launcher, folder, monkeypatch, capsys):
    monkeypatch.setattr(launcher.sys, "platform", "linux")
    launcher.set_up(["lab"])
    assert [line[:5] for line in capsys.readouterr().out.splitlines()] == ["[1/3]", "[2/3]", "[3/3]"]
    assert launcher.LOG.read_text(encoding="utf-8").count("Collecting numpy") == 2
    assert folder / ".venv" / "course-setup.log" == launcher.LOG


def test_verbose_shows_what_pip_says(launcher, capsys):
    launcher.set_up(["lab"], verbose=True)
    assert "Collecting numpy" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("WARNING: Retrying after NewConnectionError: Temporary failure in name resolution", "connect to the network"),
        ("urllib3.exceptions.ReadTimeoutError: timed out", "connect to the network"),
        ("ConnectionResetError(104)\nERROR: No matching distribution found for torch", "connect to the network"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "free 3 GB"),
        ("ERROR: No matching distribution found for torch==2.13.0", "PyTorch has no build for this Python"),
        ("ERROR: [WinError 32] The process cannot access the file", "close JupyterLab"),
        ("ERROR: the moon is full", "pip's last lines say why"),
    ],
)
def test_failing_pip_ends_in_one_sentence_and_the_next_run_works(launcher, folder, said, told, capfd):
    launcher.make_venv()
    tell_pip(folder, install=[said, 1, 0])
    assert launcher.main(["fetch"]) == 1
    sentence = only_sentence(capfd)
    assert told in sentence
    assert "run this command again" in sentence
    assert str(launcher.LOG) in sentence
    assert not launcher.STAMP.exists()
    (folder / "pip-told").unlink()
    assert launcher.main(["fetch"]) == 0
    assert "making .venv" not in capfd.readouterr().out.lower()


def test_full_disk_is_seen_before_anything_is_installed(launcher, folder, monkeypatch, capfd):
    monkeypatch.setattr(launcher.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1e9))
    assert launcher.main(["fetch"]) == 1
    assert "the disk is full: free 3 GB" in only_sentence(capfd)
    assert not (folder / ".venv").exists()


def test_no_ensurepip(launcher, monkeypatch, capfd):
    monkeypatch.setattr(launcher.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name)
    assert launcher.main(["fetch"]) == 1
    assert "sudo apt install python3-venv" in only_sentence(capfd)


def test_failing_venv_gives_the_last_line(launcher, monkeypatch, capfd):
    monkeypatch.setattr(launcher, "ask", lambda *arguments: (False, "Traceback\nError: the moon is full"))
    assert launcher.main(["fetch"]) == 1
    assert "(Error: the moon is full)" in only_sentence(capfd)


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.EACCES, "make it writable"), (errno.EROFS, "make it writable"), (errno.ENOSPC, "free 3 GB")],
)
def test_error_of_the_file_system(launcher, monkeypatch, number, told, capfd):
    def fail():
        raise OSError(number, os.strerror(number), "somewhere")

    monkeypatch.setattr(launcher, "make_venv", fail)
    assert launcher.main(["fetch"]) == 1
    sentence = only_sentence(capfd)
    assert told in sentence
    assert "somewhere" in sentence


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root and Windows write everywhere")
def test_read_only_folder(launcher, folder, capfd):
    folder.chmod(0o555)
    try:
        assert launcher.main(["fetch"]) == 1
    finally:
        folder.chmod(0o755)
    assert only_sentence(capfd)


def test_interrupt_ends_in_one_sentence_and_the_next_run_starts_clean(launcher, folder, monkeypatch, capfd):
    with monkeypatch.context() as patch:
        patch.setattr(launcher, "pip", lambda *arguments, **options: (_ for _ in ()).throw(KeyboardInterrupt))
        assert launcher.main(["fetch"]) == 130
    assert "run the same command again" in only_sentence(capfd)
    (folder / ".venv" / "half of a package").touch()
    assert launcher.main(["fetch"]) == 0
    assert "the last set-up was interrupted" in capfd.readouterr().out
    assert not (folder / ".venv" / "half of a package").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_stops_a_real_pip(launcher, folder):
    launcher.make_venv()
    tell_pip(folder, install=["Collecting numpy", 0, 300], torch=["Collecting torch", 0, 300])
    command = [sys.executable, str(folder / "course.py"), "fetch"]
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores Ctrl-C
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, encoding="utf-8", cwd=folder.parent, preexec_fn=heed
    ) as process:
        for _ in range(600):
            if (folder / "pip-pid").exists() and (folder / "pip-pid").read_text(encoding="utf-8"):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert error.strip().startswith("Interrupted:")
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pip-pid").read_text(encoding="utf-8")), 0)
    assert launcher.UNFINISHED.exists()


def remove_python(launcher):
    launcher.PYTHON.unlink()


def remove_pip(launcher):
    shutil.rmtree(next((launcher.VENV).rglob("pip/__main__.py")).parent)


@pytest.mark.parametrize("damage", [remove_python, remove_pip])
def test_broken_venv_is_made_again(launcher, folder, damage, capsys):
    launcher.set_up(["lab"])
    damage(launcher)
    capsys.readouterr()
    launcher.set_up(["lab"])
    assert "the Python in it does not run" in capsys.readouterr().out
    assert launcher.why_make_venv() == ""


def test_venv_of_an_old_python_is_made_again(launcher, monkeypatch, capsys):
    launcher.set_up(["lab"])
    monkeypatch.setattr(launcher, "venv_version", lambda: "3.10")
    launcher.set_up(["lab"])
    assert "it has Python 3.10" in capsys.readouterr().out


def test_venv_of_another_good_python_is_kept(launcher, folder, monkeypatch):
    monkeypatch.setattr(launcher, "venv_version", lambda: "3.99")
    launcher.set_up(["lab"])
    pip_calls(folder)
    launcher.set_up(["lab"])
    assert pip_calls(folder) == []


def test_moved_folder_is_set_up_again(launcher, folder, monkeypatch, capsys):
    launcher.set_up(["lab"])
    moved = load(folder.rename(folder.parent / "moved"), monkeypatch)
    moved.set_up(["lab"])
    assert "the course's folder was moved" in capsys.readouterr().out
    assert pip_calls(folder.parent / "moved")
    moved.set_up(["lab"])
    assert pip_calls(folder.parent / "moved") == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": 3}'])
def test_damaged_stamp_counts_as_none(launcher, folder, text):
    launcher.set_up(["lab"])
    pip_calls(folder)
    launcher.STAMP.write_text(text, encoding="utf-8")
    launcher.set_up(["lab"])
    assert pip_calls(folder)


def test_venv_in_use_is_not_deleted(launcher, folder, monkeypatch, capfd):
    launcher.set_up(["lab"])
    launcher.UNFINISHED.touch()
    monkeypatch.setattr(launcher.sys, "prefix", str(folder / ".venv"))
    assert launcher.main(["fetch"]) == 1
    assert "`deactivate`" in only_sentence(capfd)
    assert launcher.PYTHON.exists()


@pytest.mark.slow
def test_real_venv_in_a_folder_with_an_odd_name(folder):
    code = "import course; course.make_venv(); print(course.venv_version(), course.why_make_venv() or 'good')"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == [f"{sys.version_info[0]}.{sys.version_info[1]}", "good"]


# ------------------------------------------------------------------------------------------ lab and the delegates


@pytest.fixture
def not_root(launcher, monkeypatch):
    monkeypatch.setattr(launcher.os, "geteuid", lambda: 1000, raising=False)


@pytest.mark.usefixtures("not_root")
def test_lab_opens_the_first_notebook(launcher, capfd):
    assert launcher.main([]) == 0
    out = capfd.readouterr().out
    assert out.index("assets fetch") < out.index('lab ["notebooks/00_start_here.ipynb", "--LabApp.news_url=None"')


@pytest.mark.usefixtures("not_root")
def test_lab_passes_its_options_on(launcher, capfd):
    assert launcher.main(["--no-browser", "--port", "8890", "--ip=0.0.0.0"]) == 0
    expected = ["notebooks/00_start_here.ipynb", *launcher.NO_NEWS, "--no-browser", "--port", "8890", "--ip=0.0.0.0"]
    assert f"lab {json.dumps(expected)}" in capfd.readouterr().out


@pytest.mark.usefixtures("not_root")
def test_lab_opens_without_the_assets(launcher, folder, capfd):
    stub = STUBS["course_lib/assets.py"].replace("{assets}", "1")
    (folder / "course_lib" / "assets.py").write_text(stub, encoding="utf-8")
    assert launcher.main([]) == 0
    out = capfd.readouterr().out
    assert "`python course.py fetch`" in out
    assert "lab [" in out


def test_lab_starts_for_root_too(launcher, monkeypatch, capfd):
    monkeypatch.setattr(launcher.os, "geteuid", lambda: 0, raising=False)
    assert launcher.main(["--no-browser"]) == 0
    expected = ["notebooks/00_start_here.ipynb", *launcher.NO_NEWS, "--no-browser", "--allow-root"]
    assert f"lab {json.dumps(expected)}" in capfd.readouterr().out


def test_fetch_hands_its_arguments_over(launcher, capfd):
    assert launcher.main(["fetch", "--all", "--dir", "somewhere", "minilm"]) == 0
    assert "assets fetch --all --dir somewhere minilm" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["build", "solved"])
def test_author_commands_set_up_the_test_tools(launcher, folder, name, capfd):
    tools = folder / "tools"
    tools.mkdir()
    for program in ("build_notebooks", "solved"):
        (tools / f"{program}.py").write_text("import sys; print(sys.argv); sys.exit(7)", encoding="utf-8")
    assert launcher.main([name, "13"]) == 7
    assert "'13']" in capfd.readouterr().out
    assert pip_calls(folder)[-1][0][2] == ".[lab,test]"


# ------------------------------------------------------------------------------------------ test


def stages(launcher, *arguments):
    options, rest = launcher.make_parser("test").parse_known_args(arguments)
    return launcher.test_stages(options, rest)


def test_default_tier_runs_everything_but_slow_and_cheap_things_first(launcher):
    chosen = stages(launcher)
    assert [name for name, _ in chosen] == [
        "ruff check",
        "ruff format",
        "codespell",
        "assets",
        "unit tests",
        "notebooks as stored",
        "notebooks solved",
        "in the browser",
    ]
    commands = dict(chosen)
    assert commands["unit tests"][3] == "not notebooks and not browser and not slow"
    assert "--cov" in commands["unit tests"]
    assert commands["notebooks solved"][3] == "notebooks and not browser and not slow"
    assert commands["in the browser"][3] == "browser and not slow"
    strict = "-m pytest --nbval --nbval-current-env --nbval-cell-timeout 300 -n 2 --dist loadfile notebooks"
    assert " ".join(commands["notebooks as stored"]) == strict


def test_slow_tier_leaves_nothing_out(launcher):
    assert [name for name, _ in stages(launcher, "--slow")] == [name for name, _ in stages(launcher)]
    assert not any("not slow" in argument for _, arguments in stages(launcher, "--slow") for argument in arguments)


def test_a_test_that_hangs_ends_its_process_where_none_may_take_long(launcher):
    named = ["unit tests", "notebooks solved", "in the browser"]
    assert [name for name, said in stages(launcher) if "faulthandler_exit_on_timeout=true" in said] == named
    assert not any("faulthandler" in word for _, said in stages(launcher, "--slow") for word in said)


def test_fast_tier_needs_no_assets(launcher):
    chosen = dict(stages(launcher, "--fast"))
    assert list(chosen) == ["ruff check", "ruff format", "codespell", "unit tests"]
    assert chosen["unit tests"][3] == "not assets and not notebooks and not browser and not slow"


def test_every_marked_test_is_in_one_stage_of_the_default_tier(launcher):
    """Each combination of markers that is not slow is run by exactly one pytest stage."""
    marks = [arguments[3] for _, arguments in stages(launcher) if "pytest" in arguments and "--nbval" not in arguments]
    for notebooks, browser in [(False, False), (True, False), (False, True)]:
        present = {"notebooks": notebooks, "browser": browser, "slow": False}
        assert [eval(mark, {}, present) for mark in marks].count(True) == 1


def test_arguments_for_pytest_make_one_run(launcher):
    assert stages(launcher, "tests/test_x.py", "-k", "mask") == [
        ("pytest", ["-m", "pytest", "-m", "not slow", "tests/test_x.py", "-k", "mask"])
    ]
    assert stages(launcher, "--slow", "-x") == [("pytest", ["-m", "pytest", "-x"])]


def test_side_by_side_have_one_thread_each_and_stored_notebooks_no_network(launcher, monkeypatch, capfd):
    show = "import os, sys; print(sys.argv[1:], os.environ.get('OMP_NUM_THREADS'), os.environ.get('PYTHONPATH'))"
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(
        launcher,
        "test_stages",
        lambda options, rest: [
            ("two", ["-c", show, "-n"]),
            ("notebooks as stored", ["-c", show, "stored"]),
            ("one", ["-c", show]),
        ],
    )
    assert launcher.main(["test"]) == 0
    said = capfd.readouterr().out
    assert "['-n'] 1 None\n" in said and "[] None None\n" in said
    assert f"['stored'] None {launcher.ROOT / 'tests' / 'offline'}\n" in said


def test_all_stages_run_and_one_failure_fails_the_command(launcher, monkeypatch, capsys):
    chosen = [("first", ["-c", "raise SystemExit(3)"]), ("second", ["-c", "print()"])]
    monkeypatch.setattr(launcher, "test_stages", lambda options, rest: chosen)
    assert launcher.main(["test"]) == 1
    first, second = capsys.readouterr().out.split("Summary\n")[1].splitlines()
    assert re.fullmatch(r"  first +\d+ s  FAILED \(exit code 3\)", first)
    assert re.fullmatch(r"  second +\d+ s  ok", second)


def test_success_of_all_stages_is_success(launcher, monkeypatch):
    monkeypatch.setattr(launcher, "test_stages", lambda options, rest: [("only", ["-c", "print()"])])
    assert launcher.main(["test"]) == 0


# ------------------------------------------------------------------------------------------ doctor


@pytest.fixture
def doctor(launcher, monkeypatch):
    monkeypatch.setitem(sys.modules, "course", launcher)
    monkeypatch.setattr(sys, "argv", ["doctor"])
    spec = importlib.util.spec_from_file_location("doctor", SOURCE.parent / "tools" / "doctor.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def install_stub(launcher, name, version):
    """Make .venv's metadata say that a package is installed."""
    site = next(launcher.VENV.rglob("pip/__main__.py")).parent.parent
    (site / f"{name}-{version}.dist-info").mkdir()
    (site / f"{name}-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )


def test_doctor_without_venv(launcher, doctor, folder, capsys):
    assert doctor.main() == 1
    assert "FIX  .venv: there is none yet\n     -> run: python course.py\n" in capsys.readouterr().out
    assert not (folder / ".venv").exists()


def test_doctor_where_all_is_well(launcher, doctor, capsys):
    launcher.set_up(["lab"])
    install_stub(launcher, "torch", "2.13.0+cpu")
    capsys.readouterr()
    assert doctor.main() == 0
    out = capsys.readouterr().out
    assert "FIX" not in out
    for topic in (
        "Python",
        "GPU",
        "Disk",
        "Folder",
        ".venv",
        "Packages",
        "Dependencies",
        "Memory",
        "Assets in the cache",
        "JupyterLab",
    ):
        assert f"ok   {topic}: " in out
    assert out.endswith("All is well.\n")


def test_doctor_finds_another_version(launcher, doctor, capsys):
    launcher.set_up(["lab"])
    install_stub(launcher, "NumPy", "1.26.4")
    assert doctor.main() == 1
    assert "FIX  Packages: numpy 1.26.4 (tested: 2.3.5)\n     -> delete the folder .venv" in capsys.readouterr().out


def test_doctor_finds_missing_dependencies(launcher, doctor, folder, capsys):
    launcher.set_up(["lab"])
    tell_pip(folder, check=["tiny 1 requires numpy, which is not installed.", 1, 0])
    assert doctor.main() == 1
    assert "FIX  Dependencies: tiny 1 requires numpy" in capsys.readouterr().out


def test_doctor_finds_damaged_assets(launcher, doctor, folder, capsys):
    launcher.set_up(["lab"])
    stub = STUBS["course_lib/assets.py"].replace("{assets}", "1")
    (folder / "course_lib" / "assets.py").write_text(stub, encoding="utf-8")
    assert doctor.main() == 1
    assert "FIX  Assets in the cache: assets verify" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "text", "finding"),
    [
        ("jupyterlab/labapp.py", "raise ImportError('no tornado')", "JupyterLab: ImportError: no tornado"),
        ("psutil.py", "raise ImportError", "Packages: incomplete"),
    ],
)
def test_doctor_finds_broken_packages(launcher, doctor, folder, file, text, finding, capsys):
    launcher.set_up(["lab"])
    (folder / file).write_text(text, encoding="utf-8")
    assert doctor.main() == 1
    assert f"FIX  {finding}" in capsys.readouterr().out


def test_doctor_finds_an_outdated_set_up_and_changes_nothing(launcher, doctor, folder, capsys):
    launcher.set_up(["lab"])
    pip_calls(folder)
    (folder / "constraints.txt").write_text(PINS.replace("2.3.5", "2.3.7"), encoding="utf-8")
    assert doctor.main() == 1
    assert "FIX  .venv: not set up completely" in capsys.readouterr().out
    assert all(arguments == ["check"] for arguments, _ in pip_calls(folder))


def test_doctor_finds_little_memory_and_a_full_disk(launcher, doctor, folder, monkeypatch, capsys):
    launcher.set_up(["lab"])
    (folder / "psutil.py").write_text("class virtual_memory:\n    total, available = 2e9, 1e9\n", encoding="utf-8")
    monkeypatch.setattr(launcher.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=2e8))
    assert doctor.main() == 1
    out = capsys.readouterr().out
    assert "FIX  Memory: 2.0 GB, 1.0 GB of it free" in out
    assert "FIX  Disk: 0.2 GB free" in out


def test_doctor_takes_no_arguments(doctor, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["doctor", "me"])
    with pytest.raises(SystemExit) as stopped:
        doctor.main()
    assert stopped.value.code == 2


def test_launcher_runs_the_doctor_without_venv(launcher, folder, capfd):
    (folder / "tools").mkdir()
    shutil.copy(SOURCE.parent / "tools" / "doctor.py", folder / "tools")
    assert launcher.main(["doctor"]) == 1
    assert "FIX  .venv: there is none yet\n" in capfd.readouterr().out
    assert not (folder / ".venv").exists()
