"""Set up and open the course with nothing but Python: `python course.py --help` lists the commands.

The file parses on Python 3.6 and newer, so that an old Python can say in a sentence what is wrong.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "This course needs Python 3.11 or newer, and this is Python %d.%d: "
        "install a newer one, then run this file with it." % sys.version_info[:2]
    )

import argparse
import contextlib
import difflib
import errno
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
import zipfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
LOG = VENV / "course-setup.log"
STAMP = VENV / "course-setup.json"  # what is installed; written when all of it is
UNFINISHED = VENV / "course-setup-unfinished"  # there while pip works, so also after it was killed
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
FIRST_NOTEBOOK = "notebooks/00_start_here.ipynb"
# JupyterLab would ask at its first start whether it may fetch news from the web.
NO_NEWS = ("--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate")
NEEDED_GB = 3
FULL = f"the disk is full: free {NEEDED_GB} GB"
SITE = "build/site"
# A bundle is a zip archive: course/, wheels/, assets/, site/, and this member, which lists all others.
MANIFEST = "manifest.json"
BUNDLE_FORMAT = 1
# What reading a member raises where its bytes, its packing or a password stand against it.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)

# Settings of pip that could lead it away from the wheels it is told to take.
UNSET = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_CONSTRAINT": ""}

# What pip prints -> what the learner is told. The first that matches counts.
PIP_FAILURES = {
    r"No space left|not enough space|Errno 28\b": FULL,
    r"(Name|Connect\w*|Resol\w*|Read|Proxy|Newconn\w*)(Timeout)?Error|unreachable|name resolution|getaddrinfo": (
        "the package index cannot be reached: connect to the network (behind a proxy, set HTTPS_PROXY)"
    ),
    r"No matching distribution found for torch\b": (
        "PyTorch has no build for this Python on this computer: use 64-bit Python 3.11 to 3.14 on Linux, Windows "
        "or a Mac with Apple silicon, or open the course on Colab or Binder (links in README.md)"
    ),
    r"Permission denied|Errno 13\b|WinError (5|32)\b": "a file is in use or read-only: close JupyterLab if it is open",
}


class Stop(Exception):
    """Ends the command with one sentence that says what is wrong and what to do."""


# ------------------------------------------------------------------------------------------ running programs


def child_environment():
    """Environment of a program in .venv: as an activated .venv would have it, with nothing leaking in."""
    foreign = {
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSAFEPATH",
        "PIP_TARGET",
        "PIP_PREFIX",
        "MPLBACKEND",
        "__PYVENV_LAUNCHER__",
    }
    env = {name: value for name, value in os.environ.items() if name.upper() not in foreign}
    env.update(PYTHONNOUSERSITE="1", PYTHONUTF8="1", VIRTUAL_ENV=str(VENV))
    env.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PIP_USER="0")
    env["PATH"] = os.pathsep.join([str(PYTHON.parent), env.get("PATH", "")])
    return env


def run(*arguments, **variables):
    """Run .venv's Python in the course's folder, its output shown; return its exit code."""
    return subprocess.run([str(PYTHON), *arguments], cwd=ROOT, env=child_environment() | variables).returncode


def ask(python, *arguments):
    """Run a Python silently; return (worked, what it printed)."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    coding = {"encoding": "utf-8", "errors": "replace", "timeout": 300}
    command = [str(python), *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, env=child_environment(), **streams, **coding)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, done.stdout.strip() or "no answer"


def pip(*arguments, verbose=False, **variables):
    """Run pip in .venv, its output in the log; return (worked, output). A terminal shows what it is at."""
    command = [str(PYTHON), "-m", "pip", *arguments]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    coding = {"encoding": "utf-8", "errors": "replace"}
    output = []
    with LOG.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=child_environment() | variables, **streams, **coding)
        try:
            for line in process.stdout:
                log.write(line)
                output.append(line)
                doing = re.match(r"\s*(Collecting|Downloading|Installing) ([^\s;(/]+)", line)
                if verbose:
                    print(line, end="", flush=True)
                elif doing and sys.stdout.isatty():
                    print("\r      " + " ".join(doing.groups())[:70].ljust(70), end="\r", flush=True)
        finally:
            process.kill()  # nothing to do with one that has ended; Ctrl-C must not leave it behind
            process.wait()
    return process.returncode == 0, "".join(output)


# ------------------------------------------------------------------------------------------ setting up


def plain(name):
    """A package's name in the one spelling that can be compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text=None):
    """Package -> tested version, from constraints.txt, or from another text of this form."""
    lines = (text or (ROOT / "constraints.txt").read_text(encoding="utf-8")).splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {plain(name): version.strip() for name, version in pairs}


def venv_version():
    """Version of .venv's Python, as in "3.11"; None where .venv is missing or broken."""
    worked, answer = ask(PYTHON, "-c", "import sys, pip; print('%d.%d' % sys.version_info[:2])")
    return answer if worked and re.fullmatch(r"\d+\.\d+", answer) else None


def fingerprint(pinned=True, version=None):
    """Digest of everything that decides what is installed; for another Python than .venv's, name its version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = [pins() if pinned else "newest", version or venv_version()]
    wanted = [project["dependencies"], project["optional-dependencies"], *versions]
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()


def read_stamp():
    """What the last complete set-up left: (digest, extras, folder); as good as nothing where there was none."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        return stamp["digest"], stamp["extras"], stamp["folder"]
    except (OSError, ValueError, KeyError, TypeError):
        return "", [], str(ROOT)


def why_make_venv():
    """Why .venv must be made (again); empty where it is good."""
    if not VENV.exists():
        return "there is none yet"
    if UNFINISHED.exists():
        return "the last set-up was interrupted"
    version = venv_version()
    if version is None:
        return "the Python in it does not run"
    if tuple(map(int, version.split("."))) < (3, 11):
        return f"it has Python {version}"
    return "" if read_stamp()[2] == str(ROOT) else "the course's folder was moved"


def make_venv():
    """Make .venv from nothing. What a failure leaves behind is recognised as broken by the next run."""
    if not (importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv")):
        raise Stop(
            "This Python cannot make virtual environments: install them (on Debian and Ubuntu: "
            "`sudo apt install python3-venv`), then run this command again."
        )
    if VENV.exists():
        if Path(sys.prefix).resolve() == VENV.resolve():
            raise Stop("This Python is the one in .venv, which must be made again: run `deactivate`, then this again.")
        STAMP.unlink(missing_ok=True)
        shutil.rmtree(VENV)
    worked, said = ask(sys.executable, "-m", "venv", str(VENV))
    if not worked:
        raise Stop(f"Python could not make .venv ({said.splitlines()[-1]}): mend that, then run this command again.")


def has_gpu():
    """True where NVIDIA's driver answers."""
    tool = shutil.which("nvidia-smi")
    return bool(tool) and ask(tool)[0]


def set_up(extras, pinned=True, verbose=False, wheels=None):
    """Bring .venv to the tested versions. Installs nothing, and needs no network, where it has them.

    With a folder of wheels everything comes from there, and no network is asked.
    """
    why, (digest, present, _) = why_make_venv(), read_stamp()
    if not why and digest == fingerprint(pinned) and set(extras) <= set(present):
        return
    if shutil.disk_usage(ROOT).free < NEEDED_GB * 1e9:
        raise Stop(f"The course cannot be set up, {FULL}, then run this command again.")
    if why:
        print(f"[1/3] Making .venv with Python {platform.python_version()} ({why})", flush=True)
        make_venv()
    STAMP.unlink(missing_ok=True)
    UNFINISHED.touch()
    if sys.platform == "linux" and not wheels and not has_gpu():
        print("[2/3] Installing PyTorch for the CPU (about 200 MB)", flush=True)
        # Without its dependencies: they come from the ordinary index below, at the tested versions.
        torch = f"torch=={pins()['torch']}" if pinned else "torch"
        quick = ["--retries", "0", "--timeout", "15", "--no-deps", "--index-url", CPU_WHEELS]
        if not pip("install", torch, *quick, verbose=verbose)[0]:
            print("      not from PyTorch's own index, which cannot be reached: the download may be larger", flush=True)
    print("[3/3] Installing the course's packages (minutes the first time)", flush=True)
    extras = sorted({*extras, *(() if wheels else present)})
    versions = ["-c", "constraints.txt"] if pinned else ["--upgrade", "--upgrade-strategy", "eager"]
    alone = ["--no-index", "--find-links", str(wheels)] if wheels else []
    worked, said = pip(
        "install", "-e", f".[{','.join(extras)}]", *versions, *alone, verbose=verbose, **(UNSET if wheels else {})
    )
    UNFINISHED.unlink()
    if not worked:
        reasons = [reason for pattern, reason in PIP_FAILURES.items() if re.search(pattern, said, re.IGNORECASE)]
        lacking = "the bundle lacks a package for this computer: ask for one that was made on a computer like it"
        reason = (reasons or [lacking if wheels else "pip's last lines say why"])[0]
        raise Stop(f"Setting up failed, {reason}; then run this command again (pip's log: {LOG}).")
    stamp = {"digest": fingerprint(pinned), "extras": extras, "folder": str(ROOT)}
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")


# ------------------------------------------------------------------------------------------ without a network


def kind_of_computer(version):
    """What the wheels of a bundle depend on, as in "CPython 3.11 on Linux x86_64"."""
    return f"{platform.python_implementation()} {version} on {platform.system()} {platform.machine()}"


def is_plain(name):
    """True for the name of a member that stays within the folder it is unpacked into, on every system."""
    safe = not re.search(r'[\\:*?"<>|\0]', name) and not {"", ".", ".."} & set(name.split("/"))
    return safe and name.split("/")[0] in {"assets", "course", "site", "wheels"}


def read_manifest(archive, file):
    """The manifest of an open archive, once its list of files is sure to be that of a whole bundle."""
    members = {info.filename: info.file_size for info in archive.infolist()}
    try:
        manifest = json.loads(archive.read(MANIFEST))
        made, files = manifest["format"], manifest["files"]
        sizes = {name: size for name, (_, size) in files.items()}
    except (KeyError, ValueError, TypeError, AttributeError, *UNREADABLE):
        raise Stop(
            f"{file} is no bundle of this course, or was cut short: name the archive that `python course.py fetch "
            "--all --bundle FILE` wrote, or copy it again."
        ) from None
    if made != BUNDLE_FORMAT:
        raise Stop(
            f"{file} has format {made}, and this course.py reads {BUNDLE_FORMAT}: use the course.py of its maker."
        )
    strange = [name for name in files if not is_plain(name)]
    strange += [name for name in members if name not in files and name != MANIFEST]
    strange += [name for name in sizes if members.get(name) != sizes[name]]
    if strange or len(archive.infolist()) != len(files) + 1:
        named = f" ({strange[0]!r})" if strange else ""
        raise Stop(f"{file} holds other files than its own list says{named}: do not use it, ask for a new bundle.")
    return manifest


def unpack(archive, files, target, file):
    """Write the files of a bundle into a folder, each checked against its sha256."""
    for name, (digest, _) in files.items():
        path = target.joinpath(*name.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        damaged = Stop(f"{name} in {file} is damaged: copy the bundle again, or ask for a new one.")
        seen = hashlib.sha256()
        try:
            with archive.open(name) as packed, path.open("wb") as plain:
                for block in iter(lambda packed=packed: packed.read(1 << 20), b""):
                    seen.update(block)
                    plain.write(block)
        except UNREADABLE:
            raise damaged from None
        if seen.hexdigest() != digest:
            raise damaged
        if archive.getinfo(name).external_attr >> 16 & 0o100:  # a program
            path.chmod(path.stat().st_mode | 0o111)


def put_course(fresh, file):
    """Move an unpacked course into the folder of this file, which holds no course yet. What marks one goes last."""
    ours = {Path(__file__).name, file.name}
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    in_the_way = visible | {path.name for path in fresh.iterdir() if (ROOT / path.name).exists()}
    if in_the_way - ours:
        raise Stop(
            f"{ROOT} holds other things ({min(in_the_way - ours)!r}): put course.py alone into a new folder and run "
            "it there."
        )
    for path in sorted(fresh.iterdir(), key=lambda path: path.name == "pyproject.toml"):
        path.replace(ROOT / path.name)


def set_up_from(file, verbose=False):
    """Set up from a bundle alone: packages, weights and texts, the site, and the course where there is none yet."""
    if not file.is_file():
        raise Stop(f"There is no file {file}: name the bundle that you were given.")
    for leftover in ROOT.glob(".bundle-*"):  # of an attempt that was cut off
        shutil.rmtree(leftover, ignore_errors=True)
    version = "%d.%d" % sys.version_info[:2] if why_make_venv() else venv_version()
    try:
        with zipfile.ZipFile(file) as archive, tempfile.TemporaryDirectory(dir=ROOT, prefix=".bundle-") as scratch:
            manifest, scratch = read_manifest(archive, file), Path(scratch)
            size = sum(size for _, size in manifest["files"].values())
            if manifest["kind"] != kind_of_computer(version):
                raise Stop(
                    f"{file} is for {manifest['kind']}, and this is {kind_of_computer(version)}: run it with such a "
                    "Python, or ask for a bundle that was made on a computer like this one."
                )
            if shutil.disk_usage(ROOT).free < size + NEEDED_GB * 1e9:
                raise Stop(
                    f"The disk is too full for {file}: free {size / 1e9 + NEEDED_GB:.1f} GB, then run this again."
                )
            print(f"Checking and unpacking {file.name} ({size / 1e9:.2f} GB)", flush=True)
            unpack(archive, manifest["files"], scratch, file)
            if not (ROOT / "pyproject.toml").exists():
                put_course(scratch / "course", file)
            if manifest["digest"] != fingerprint(version=version):
                raise Stop(
                    f"{file} is of another version of the course than {ROOT}: put course.py alone into a new folder "
                    "and run it there."
                )
            set_up(manifest["extras"], verbose=verbose, wheels=scratch / "wheels")
            if (scratch / "site").exists():
                shutil.rmtree(ROOT / SITE, ignore_errors=True)
                (ROOT / SITE).parent.mkdir(exist_ok=True)
                (scratch / "site").replace(ROOT / SITE)
            if run("-m", "course_lib.assets", "adopt", str(scratch / "assets")):
                raise Stop("The packages are there, but not all weights and texts: mend that, then run this again.")
    except zipfile.BadZipFile:
        raise Stop(f"{file} is no whole bundle: it was cut short or changed on its way, copy it again.") from None
    print(f"Set up without a network. `python course.py` opens the course; the site is {SITE}/index.html.")
    return 0


def fetch(options, rest):
    """Download models and texts; with --bundle, put them with everything else into one archive."""
    if options.bundle:
        set_up(["docs", "lab"], verbose=options.verbose)
        return run("-m", "tools.bundle", str(Path(options.bundle).expanduser().resolve()), *rest)
    set_up(["lab"], verbose=options.verbose)
    return run("-m", "course_lib.assets", "fetch", *rest)


# ------------------------------------------------------------------------------------------ opening and testing


def lab(options, rest):
    """Set up, fetch what the notebooks need by default, open JupyterLab and stay until it ends.

    With --from it only sets up, from a bundle, so that the command ends and says what comes next.
    """
    if options.bundle:
        if rest:
            raise Stop(f"--from FILE sets up and opens nothing: run it without {rest[0]}, then `python course.py`.")
        return set_up_from(Path(options.bundle).expanduser().resolve(), options.verbose)
    set_up(["lab"], verbose=options.verbose)
    if run("-m", "course_lib.assets", "fetch"):
        print("Some notebooks will lack models or texts until `python course.py fetch` has run.", flush=True)
    switches = ["--no-browser"] * options.no_browser + (["--port", options.port] if options.port else [])
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        switches.append("--allow-root")  # in a container there is often no other account
    command = [str(PYTHON), "-m", "jupyterlab", FIRST_NOTEBOOK, *NO_NEWS, *switches, *rest]
    with subprocess.Popen(command, cwd=ROOT, env=child_environment()) as server:
        while server.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):  # JupyterLab gets Ctrl-C too, and asks before it stops
                server.wait()
    return server.returncode


def test_stages(options, rest):
    """The checks of a tier, cheap ones first: (name, arguments for .venv's Python)."""
    left_out = ["assets", "notebooks", "browser", "slow"] if options.fast else ["slow"] * (not options.slow)

    def pytest(*only):
        marks = " and ".join([*only, *(f"not {mark}" for mark in left_out)])
        return ["-m", "pytest", *(["-m", marks] if marks else [])]

    if rest:
        return [("pytest", [*pytest(), *rest])]
    lint = [
        ("ruff check", ["-m", "ruff", "check", "."]),
        ("ruff format", ["-m", "ruff", "format", "--check", "."]),
        ("codespell", ["-m", "codespell_lib"]),
    ]
    # pytest-timeout cannot end a test that hangs in C code: then the process says where and ends; a new one goes on.
    hung = ["faulthandler_timeout=900", "faulthandler_exit_on_timeout=true"] if "slow" in left_out else []
    tests = [*(word for setting in hung for word in ("-o", setting)), "tests"]
    if options.fast:
        return [*lint, ("unit tests", [*pytest(), *tests])]
    nbval = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout", "300"]
    two = ["-n", "2", "--dist"]  # two files, or two notebooks, at a time
    coverage = ["--cov", "--cov-report", "term:skip-covered"]
    return [
        *lint,
        ("assets", ["-m", "course_lib.assets", "fetch"]),
        ("unit tests", [*pytest("not notebooks", "not browser"), *coverage, *two, "loadfile", *tests]),
        ("notebooks as stored", ["-m", "pytest", *nbval, *two, "loadfile", "notebooks"]),
        ("notebooks solved", [*pytest("notebooks", "not browser"), *two, "worksteal", *tests]),
        ("in the browser", [*pytest("browser"), *tests]),
    ]


def test(options, rest):
    """Set up the test tools too and run every stage, whatever the ones before it said."""
    set_up(["docs", "lab", "test"], pinned=not options.newest, verbose=options.verbose)
    results = []
    for name, arguments in test_stages(options, rest):
        print(f"\n==> {name}", flush=True)
        start = time.monotonic()
        # What runs side by side gets one thread each: more would wait for each other.
        variables = {"OMP_NUM_THREADS": "1"} if "-n" in arguments else {}
        if name == "notebooks as stored":  # all they need has been fetched: they run without a network
            variables["PYTHONPATH"] = str(ROOT / "tests" / "offline")
        results.append((run(*arguments, **variables), name, time.monotonic() - start))
    print("\nSummary")
    for code, name, seconds in results:
        verdict = f"FAILED (exit code {code})" if code else "ok"
        print(f"  {name:20} {seconds:5.0f} s  {verdict}", flush=True)
    return int(any(code for code, _, _ in results))


# ------------------------------------------------------------------------------------------ the command line


def handing_over(*program, extras=()):
    """A command that gives its arguments to a program, run in .venv where it needs these extras of the package."""

    def command(options, rest):
        if extras:
            set_up(extras, verbose=options.verbose)
        python = PYTHON if extras else sys.executable
        return subprocess.run([str(python), *program, *rest], cwd=ROOT, env=child_environment()).returncode

    return command


# name: (what it runs, its arguments, what it is for, examples)
COMMANDS = {
    "lab": (
        lab,
        "[--from FILE | [--no-browser] [--port PORT] [JupyterLab's own options]]",
        "set up, fetch what the notebooks need and open JupyterLab (the default)",
        ["", "--no-browser --port 8890", "--from course-bundle.zip"],
    ),
    "test": (
        test,
        "[--fast | --slow] [--newest] [pytest's own arguments]",
        "set up and run every check; with arguments for pytest, that one run only",
        ["test", "test --fast", "test tests/test_attention.py -k mask"],
    ),
    "fetch": (
        fetch,
        "[--all] [--dir DIR] [--bundle FILE] [NAME ...]",
        "download models and texts, with --all every one; with --bundle all that a room without network needs",
        ["fetch", "fetch --all", "fetch --all --bundle ../course-bundle.zip"],
    ),
    "doctor": (
        handing_over("-m", "tools.doctor"),
        "",
        "say what is wrong with this set-up and how to mend it",
        ["doctor"],
    ),
    "build": (
        handing_over("-m", "tools.build_notebooks", extras=["lab", "test"]),
        "[--compare DIR] [NN ...]",
        "make notebooks from their text twins and run them, or report what another run changes",
        ["build", "build 02 13", "build --compare build/refresh 00 02"],
    ),
    "solved": (
        handing_over("-m", "tools.solved", extras=["lab", "test"]),
        "DIR [NN ...]",
        "write every notebook with its exercises solved (for instructors)",
        ["solved solved", "solved solved 02 13"],
    ),
    "site": (
        handing_over("-m", "tools.site", extras=["docs"]),
        "[--no-open] [--to DIR]",
        "build the rendered course, with glossary, gallery and reference, and open it",
        ["site", "site --no-open --to public"],
    ),
    "slides": (
        handing_over("-m", "tools.slides", extras=["docs"]),
        "[--to DIR]",
        "write the slides of each part, made from the notebooks (for instructors)",
        ["slides", "slides --to talk"],
    ),
    "bench": (
        handing_over("benchmarks", extras=["lab", "test"]),
        "[--quick] [NAME ...]",
        "time the course against other libraries and write benchmarks/results (an hour)",
        ["bench", "bench generation", "bench --quick encoding"],
    ),
    "badges": (
        handing_over("-m", "tools.badges"),
        "[OWNER/NAME]",
        "point every link and badge at one repository (without a name: git's origin)",
        ["badges ada/attention-course"],
    ),
}


def make_parser(name):
    """The parser of one command. Arguments that it does not know go on to the program behind it."""
    _, arguments, purpose, examples = COMMANDS[name]
    parser = argparse.ArgumentParser(
        usage=f"python course.py {name} {arguments}".rstrip(),
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog="\n".join(["examples:", *(f"  python course.py {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--verbose", action="store_true", help="show all that pip says")
    if name == "lab":
        parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
        parser.add_argument("--port", help="the port to serve on")
        parser.add_argument("--from", dest="bundle", metavar="FILE", help="set up from this bundle, without a network")
    if name == "fetch":
        parser.add_argument(
            "--bundle", metavar="FILE", help="write packages, assets, notebooks and site into one archive"
        )
    if name == "test":
        tier = parser.add_mutually_exclusive_group()
        tier.add_argument("--fast", action="store_true", help="lint and quick unit tests, in about a minute")
        tier.add_argument("--slow", action="store_true", help="everything, as before a release")
        parser.add_argument("--newest", action="store_true", help="the newest releases, not the tested ones")
    return parser


def overview():
    """The help of the whole program."""
    lines = ["usage: python course.py [command] [arguments]", "", "commands:"]
    lines += [f"  {name:8} {purpose}" for name, (_, _, purpose, _) in COMMANDS.items()]
    lines += [
        "",
        "examples:",
        *(f"  python course.py {examples[0]}".rstrip() for _, _, _, examples in COMMANDS.values()),
    ]
    return "\n".join([*lines, "", "`python course.py COMMAND --help` says more."])


def main(arguments):
    """Run one command and return its exit code; what goes wrong ends in one sentence."""
    if arguments[:1] in (["-h"], ["--help"], ["help"]):
        print(overview())
        return 0
    implied = not arguments or arguments[0].startswith("-")
    name = "lab" if implied else arguments[0]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        print(overview(), file=sys.stderr)
        print(f"\nThere is no command {name!r}.", f"Did you mean {close[0]!r}?" if close else "", file=sys.stderr)
        return 2
    options, rest = make_parser(name).parse_known_args(arguments if implied else arguments[1:])
    try:
        return COMMANDS[name][0](options, rest)
    except Stop as stop:
        print(stop, file=sys.stderr)
    except KeyboardInterrupt:
        print("\nInterrupted: run the same command again, it starts from a clean state.", file=sys.stderr)
        return 130
    except OSError as error:
        remedy = FULL if error.errno == errno.ENOSPC else "make it writable, or copy the course to a folder of your own"
        print(f"{error.strerror} ({error.filename}): {remedy}, then run this command again.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # for a console that lacks a letter of the folder's name
    sys.exit(main(sys.argv[1:]))
