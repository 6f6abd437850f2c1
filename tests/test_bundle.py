"""A room without a network: the bundle that is written, the set-up from it, and every way in which it can be refused.

The bundles hold a course of a few lines and wheels of a few bytes. pip, the virtual environment and the commands are
the real ones where a test says so; there the network is taken away first.
"""

import functools
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
from package_index import build_wheel
from test_course import load, only_sentence

import course
from course_lib import assets
from tools import bundle

ROOT = Path(__file__).resolve().parent.parent
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"

PROJECT = """
[build-system]
requires = ["tiny-builder"]
build-backend = "tiny_backend"
backend-path = ["."]

[project]
name = "tiny-course"
version = "1"
requires-python = ">=3.11"
dependencies = ["tiny-words>=1"]
[project.optional-dependencies]
lab = ["tiny-lab"]
test = ["tiny-test"]
"""
BACKEND = '''
"""The smallest build backend that can install a folder where it lies."""
import pathlib, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    info = "tiny_course-1.dist-info"
    needs = 'Requires-Dist: tiny-words>=1\\nProvides-Extra: lab\\nRequires-Dist: tiny-lab; extra == "lab"\\n'
    members = {
        "tiny_course.pth": str(pathlib.Path.cwd()) + "\\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: tiny-course\\nVersion: 1\\n" + needs,
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/RECORD": "",
    }
    name = "tiny_course-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as wheel:
        for member, text in members.items():
            wheel.writestr(member, text)
    return name
'''
ASSETS = """
import pathlib, sys
if sys.argv[1] == "adopt":
    print("adopted", sorted(path.name for path in pathlib.Path(sys.argv[2]).iterdir()))
else:
    print("assets", *sys.argv[1:])
"""
COURSE = {
    "pyproject.toml": PROJECT,
    "constraints.txt": "tiny-words==1.3\ntorch==2.13.0\n",
    "tiny_backend.py": BACKEND,
    "course_lib/__init__.py": "",
    "course_lib/assets.py": ASSETS,
    "notebooks/00_start_here.ipynb": "{}\n",
}


def lay_out(folder):
    """A course as small as a bundle can take."""
    for name, text in COURSE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "course.py", folder)
    return folder


def digest_of(folder):
    """What the launcher of a folder writes into its bundles."""
    spec = importlib.util.spec_from_file_location("launcher_of_the_maker", folder / "course.py")
    launcher = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launcher)
    return launcher.fingerprint(version=VERSION)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A bundle of the tiny course, for this computer."""
    folder = tmp_path_factory.mktemp("maker")
    made = lay_out(folder / "course")
    names = [("tiny-words", "1.3"), ("tiny-words", "1.4"), ("tiny-lab", "2"), ("tiny-builder", "1")]
    wheels = [build_wheel(folder / "wheels", name, version, {}) for name, version in names]
    (folder / "index.html").write_text("<title>the site</title>", encoding="utf-8")
    (folder / "words.txt").write_text("the cat sat", encoding="utf-8")
    members = bundle.course_files(made) | {f"wheels/{wheel.name}": wheel for wheel in wheels}
    members |= {"site/index.html": folder / "index.html", "assets/words/words.txt": folder / "words.txt"}
    kind = course.kind_of_computer(VERSION)
    bundle.write(folder / "given.zip", members, kind=kind, extras=["lab"], digest=digest_of(made))
    return folder / "given.zip"


@pytest.fixture
def desk(tmp_path, given):
    """A learner's new folder with the launcher in it and the bundle beside it."""
    folder = tmp_path / "mein Kürs ü"
    folder.mkdir()
    shutil.copy(ROOT / "course.py", folder)
    shutil.copy(given, folder / "given.zip")
    return folder


@pytest.fixture
def launcher(desk, monkeypatch):
    """The learner's launcher, which notes what it would install instead of installing it."""
    launcher = load(desk, monkeypatch)
    launcher.noted = []

    def set_up(extras, **options):
        wheels = sorted(path.name for path in options["wheels"].iterdir())
        launcher.noted.append((extras, wheels))

    monkeypatch.setattr(launcher, "set_up", set_up)
    monkeypatch.setattr(launcher, "run", lambda *arguments: launcher.noted.append(arguments[:3]) or 0)
    return launcher


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------ setting up


@functools.cache
def without_network():
    """The start of a command whose processes reach nothing, not even this computer; empty where there is none."""
    command = ["unshare", "--map-root-user", "--net"]
    try:
        return command if subprocess.run([*command, "true"], capture_output=True).returncode == 0 else []
    except OSError:
        return []


def offline(*command, home, **options):
    """Run a command without a network; where it cannot be taken away, proxies lead nowhere."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "XDG_", "COURSE_"))
    }
    nowhere = dict.fromkeys(["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"], "http://127.0.0.1:9")
    environment |= nowhere | {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home)}
    return subprocess.run(
        [*without_network(), *map(str, command)], env=environment, capture_output=True, encoding="utf-8", **options
    )


@pytest.mark.skipif(not without_network(), reason="only Linux, where users may make namespaces, takes a network away")
def test_the_network_is_gone_in_these_tests(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0
        done = offline(sys.executable, "-c", code, home=tmp_path)
    assert "Network is unreachable" in done.stderr


def test_a_folder_with_the_launcher_alone_is_set_up_without_a_network(desk, tmp_path):
    """Everything is real here: the virtual environment, pip, and the network that is not there."""
    done = offline(sys.executable, desk / "course.py", "--from", "given.zip", home=tmp_path, cwd=desk)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "adopted ['words']" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Set up without a network. `python course.py` opens the course")
    for name, text in COURSE.items():
        assert (desk / name).read_text(encoding="utf-8") == text
    assert "the site" in (desk / "build" / "site" / "index.html").read_text(encoding="utf-8")
    assert not list(desk.glob(".bundle-*"))
    code = "from importlib.metadata import version as v; print(v('tiny-words'), v('tiny-lab'), v('tiny-course'))"
    python = desk / course.PYTHON.relative_to(ROOT)
    assert offline(python, "-c", code, home=tmp_path).stdout.split() == ["1.3", "2", "1"], "the pinned versions"
    # From now on the ordinary commands find everything there.
    again = offline(sys.executable, desk / "course.py", "fetch", home=tmp_path)
    assert (again.returncode, again.stdout, again.stderr) == (0, "assets fetch\n", "")


def test_a_copy_of_the_course_keeps_its_own_files(launcher, desk, capsys):
    lay_out(desk)
    (desk / "notebooks" / "00_start_here.ipynb").write_text('{"my": "answers"}', encoding="utf-8")
    (desk / "build" / "site").mkdir(parents=True)
    (desk / "build" / "site" / "old.html").touch()
    before = files(desk)
    assert launcher.main(["--from", str(desk / "given.zip")]) == 0
    wheels = ["tiny_builder-1", "tiny_lab-2", "tiny_words-1.3", "tiny_words-1.4"]
    (extras, offered), adopted = launcher.noted
    assert (extras, offered) == (["lab"], [f"{name}-py3-none-any.whl" for name in wheels])
    assert adopted == ("-m", "course_lib.assets", "adopt")
    del before["build/site/old.html"]
    after = files(desk)
    assert after.pop("build/site/index.html")
    assert after == before


def test_what_an_attempt_left_behind_is_removed(launcher, desk):
    (desk / ".bundle-killed").mkdir()
    assert launcher.main(["--from", str(desk / "given.zip")]) == 0
    assert not list(desk.glob(".bundle-*"))


def test_assets_that_cannot_be_adopted_fail_the_command(launcher, desk, monkeypatch, capfd):
    monkeypatch.setattr(launcher, "run", lambda *arguments: 1)
    assert launcher.main(["--from", str(desk / "given.zip")]) == 1
    assert "not all weights and texts" in only_sentence(capfd)


# ------------------------------------------------------------------------------------------ refusing


def rewrite(file, change):
    """Write a bundle again, its members and its manifest changed by a function that is given both."""
    with zipfile.ZipFile(file) as archive:
        members = [
            (info.filename, archive.read(info)) for info in archive.infolist() if info.filename != course.MANIFEST
        ]
        manifest = json.loads(archive.read(course.MANIFEST))
    members = change(members, manifest) or members
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in [*members, (course.MANIFEST, json.dumps(manifest).encode())]:
            archive.writestr(name, content)


def renamed(new):
    """The same content under another name, in the manifest too."""

    def change(members, manifest):
        manifest["files"][new] = manifest["files"].pop("course/constraints.txt")
        return [(new if name == "course/constraints.txt" else name, content) for name, content in members]

    return change


def other_content(members, manifest):
    return [(name, content.replace(b"the cat sat", b"the cat ate")) for name, content in members]


def longer(members, manifest):
    return [(name, content + b"!" if name.startswith("site/") else content) for name, content in members]


def cut(file):
    file.write_bytes(file.read_bytes()[:-500])


def flip(file, name, place):
    """Turn the bits of one byte of a member, counted from the start of its packed data."""
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo(name)
    content = bytearray(file.read_bytes())
    start = info.header_offset + 30 + len(info.filename.encode()) + len(info.extra)
    assert place < info.compress_size
    content[start + place] ^= 255
    file.write_bytes(content)


def lock(file):
    """Mark a member as encrypted, in both of its headers."""
    content = file.read_bytes()
    file.write_bytes(content.replace(b"\x00\x00\x08\x00", b"\x01\x00\x08\x00"))


def is_text(file):
    file.write_text("hello", encoding="utf-8")


def is_wheel(file):
    shutil.copy(build_wheel(file.parent.parent / "wheel", "tiny-words", "1.3", {}), file)


def manifest_is_a_list(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(course.MANIFEST, "[]")


CHANGES = {
    "another format": (lambda m, manifest: manifest.update(format=2), "has format 2, and this course.py reads 1"),
    "a stranger": (lambda members, m: [*members, ("course/extra.py", b"")], "('course/extra.py'): do not use it"),
    "one missing": (lambda members, m: members[1:], "holds other files than its own list says"),
    "the same twice": (lambda members, m: [*members, members[0]], "holds other files than its own list says"),
    "another size": (longer, "('site/index.html'): do not use it"),
    "other bytes": (other_content, "assets/words/words.txt in "),
    "another computer": (
        lambda m, manifest: manifest.update(kind="CPython 3.99 on Plan9 mips"),
        f"is for CPython 3.99 on Plan9 mips, and this is {course.kind_of_computer(VERSION)}: run it with such a Python",
    ),
    "another version": (lambda m, manifest: manifest.update(digest="0"), "is of another version of the course than"),
    "upwards": (renamed("course/../../escaped"), "('course/../../escaped'): do not use it"),
    "absolute": (renamed("/escaped"), "('/escaped'): do not use it"),
    "on a drive": (renamed("course/C:escaped"), "('course/C:escaped'): do not use it"),
    "elsewhere": (renamed(".venv/bin/python"), "('.venv/bin/python'): do not use it"),
}
DAMAGES = {
    "cut": (cut, "was cut short"),
    "flipped": (functools.partial(flip, name="assets/words/words.txt", place=2), "assets/words/words.txt in "),
    "flipped early": (functools.partial(flip, name="course/course.py", place=0), "course/course.py in "),
    "flipped in a wheel": (functools.partial(flip, name="wheels/tiny_lab-2-py3-none-any.whl", place=99), "tiny_lab-2"),
    "locked": (lock, "is damaged: copy the bundle again"),
    "text": (is_text, "cut short or changed on its way, copy it again"),
    "a wheel": (
        is_wheel,
        "is no bundle of this course, or was cut short: name the archive that `python course.py fetch --all",
    ),
    "no manifest": (manifest_is_a_list, "is no bundle of this course"),
    "not there": (Path.unlink, "There is no file "),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "There is no file "),
}
DAMAGES |= {name: (functools.partial(rewrite, change=change), told) for name, (change, told) in CHANGES.items()}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_bundle_is_refused_in_one_sentence_and_nothing_is_changed(launcher, desk, damage, capfd):
    lay_out(desk)
    spoil, told = DAMAGES[damage]
    spoil(desk / "given.zip")
    before = files(desk)
    assert launcher.main(["--from", str(desk / "given.zip")]) == 1
    sentence = only_sentence(capfd)
    assert told in sentence
    assert str(desk / "given.zip") in sentence
    assert (files(desk), launcher.noted) == (before, [])
    assert not (desk.parent / "escaped").exists() and not list(desk.glob(".bundle-*"))


@pytest.mark.parametrize(
    "name", ["course\\..\\x", "course/a\0b", "course//x", "course/./x", "site/", "", "other/x", "a:b/x"]
)
def test_names_that_lead_elsewhere_on_some_system(name):
    assert not course.is_plain(name)


@pytest.mark.parametrize(
    "name", ["course/docs/a b.md", "wheels/torch-2.13.0+cpu-cp311.whl", "site/_static/x.js", "course/.ci/run"]
)
def test_ordinary_names(name):
    assert course.is_plain(name)


@pytest.mark.parametrize("other", ["letter.txt", ".github/mine.yml"])
def test_a_folder_with_other_things_is_left_alone(launcher, desk, other, capfd):
    if other.startswith("."):  # hidden things are no obstacle until the course has some of that name
        rewrite(desk / "given.zip", renamed("course/.github/ours.yml"))
    (desk / other).parent.mkdir(exist_ok=True)
    (desk / other).write_text("mine", encoding="utf-8")
    before = files(desk)
    assert launcher.main(["--from", str(desk / "given.zip")]) == 1
    sentence = only_sentence(capfd)
    assert f"holds other things ({other.split('/')[0]!r}): put course.py alone into a new folder" in sentence
    assert files(desk) == before


def test_a_full_disk_is_seen_before_anything_is_unpacked(launcher, desk, monkeypatch, capfd):
    monkeypatch.setattr(launcher.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1e9))
    assert launcher.main(["--from", str(desk / "given.zip")]) == 1
    assert "free 3.0 GB, then run this again" in only_sentence(capfd)
    assert set(files(desk)) == {"course.py", "given.zip"}


def test_other_options_beside_from_are_refused(launcher, desk, capfd):
    assert launcher.main(["--from", str(desk / "given.zip"), "--ip=0.0.0.0"]) == 1
    assert "run it without --ip=0.0.0.0" in only_sentence(capfd)


def test_a_package_that_the_bundle_lacks_is_said(desk, monkeypatch, capfd):
    """pip is a stub here, as in the launcher's own tests."""
    launcher = load(desk, monkeypatch)
    launcher.make_venv()
    told = {"install": ["ERROR: No matching distribution found for tiny-lab", 1, 0]}
    (desk / "pip-told").write_text(json.dumps(told), encoding="utf-8")
    lay_out(desk)
    with pytest.raises(launcher.Stop, match="the bundle lacks a package for this computer"):
        launcher.set_up(["lab"], wheels=desk / "wheels")


def test_wheels_are_the_only_source_of_packages(desk, monkeypatch):
    """Neither the network nor a setting of this computer's pip adds another one."""
    monkeypatch.setenv("PIP_FIND_LINKS", "elsewhere")
    monkeypatch.setattr(sys, "platform", "linux")
    launcher = load(desk, monkeypatch)
    lay_out(desk)
    launcher.set_up(["lab"], wheels=desk / "wheels")
    (call,) = (desk / "pip-calls").read_text(encoding="utf-8").splitlines()
    arguments, environment = json.loads(call)
    assert arguments[-3:] == ["--no-index", "--find-links", str(desk / "wheels")]
    assert (environment["PIP_CONFIG_FILE"], environment["PIP_FIND_LINKS"]) == (os.devnull, "")


# ------------------------------------------------------------------------------------------ writing


def test_fetch_hands_a_bundle_to_its_maker(desk, monkeypatch, capfd):
    launcher = load(desk, monkeypatch)
    lay_out(desk)
    (desk / "tools").mkdir()
    (desk / "tools" / "bundle.py").write_text("import sys; print('made', sys.argv[1:])", encoding="utf-8")
    monkeypatch.chdir(desk.parent)
    assert launcher.main(["fetch", "--all", "--bundle", "out.zip"]) == 0
    assert f"made {[str(desk.parent / 'out.zip'), '--all']}" in capfd.readouterr().out
    assert json.loads((desk / "pip-calls").read_text(encoding="utf-8").splitlines()[-1])[0][2] == ".[docs,lab]"


def test_a_failure_leaves_the_earlier_archive(tmp_path):
    (tmp_path / "out.zip").write_bytes(b"the earlier one")
    with pytest.raises(FileNotFoundError):
        bundle.write(tmp_path / "out.zip", {"course/gone": tmp_path / "gone"})
    assert files(tmp_path) == {"out.zip": b"the earlier one"}


def test_files_of_the_course_with_and_without_git(tmp_path):
    made = lay_out(tmp_path / "course")
    generated = (".venv/bin/python", "build/site/x.html", "course_lib/__pycache__/x.pyc", "solved/02.ipynb")
    for name in (*generated, "course-bundle.zip", "new.zip.partial"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).touch()
    expected = {f"course/{name}" for name in (*COURSE, "course.py")}
    assert set(bundle.course_files(made)) == expected
    git = ["git", "-C", str(made), "-c", "core.excludesFile="]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", *COURSE, "course.py"], check=True)
    (made / "notes of the teacher.txt").touch()
    assert set(bundle.course_files(made)) == expected


def test_this_course_is_whole_in_a_bundle():
    names = set(bundle.course_files(ROOT))
    assert {"course/course.py", "course/pyproject.toml", "course/constraints.txt", "course/data/SHA256SUMS"} <= names
    assert len([name for name in names if name.startswith("course/notebooks/") and name.endswith(".ipynb")]) == 20
    assert all(course.is_plain(name) for name in names)


@pytest.fixture
def pip_wheel(monkeypatch):
    """pip notes its arguments and leaves wheels; `fails` makes it fail where a network is missing."""
    noted = types.SimpleNamespace(calls=[], fails=False)

    def pip(*arguments):
        noted.calls.append(arguments)
        folder = Path(arguments[arguments.index("--wheel-dir") + 1])
        folder.mkdir(exist_ok=True)
        for name in ("torch-2.13.0+cpu-py3-none-any", "attention_course-0.1.0-py3-none-any"):
            (folder / f"{name}.whl").touch()
        return not noted.fails, "Collecting torch\nERROR: the moon is full\n"

    monkeypatch.setattr(course, "pip", pip)
    return noted


def test_wheels_are_those_of_the_tested_versions_and_what_builds_the_course(pip_wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle.sys, "platform", "linux")
    assert list(bundle.collect_wheels(tmp_path / "w")) == ["wheels/torch-2.13.0+cpu-py3-none-any.whl"]
    torch, everything = pip_wheel.calls
    assert torch[:2] == ("wheel", f"torch=={course.pins()['torch']}") and course.CPU_WHEELS in torch
    assert everything[:2] == ("wheel", ".[lab]") and "editables" in everything
    assert any(argument.startswith("hatchling") for argument in everything)
    for call in pip_wheel.calls:
        assert call[call.index("-c") + 1] == "constraints.txt"


def test_packages_that_cannot_be_had_end_in_a_sentence(pip_wheel, tmp_path, monkeypatch, capfd):
    pip_wheel.fails = True
    monkeypatch.setattr(assets, "fetch", lambda name, cache: tmp_path)
    assert bundle.main([str(tmp_path / "out.zip"), "--all"]) == 1
    error = capfd.readouterr().err
    assert error.startswith("There is no bundle: the packages cannot be had (ERROR: the moon is full; pip's log: ")
    assert files(tmp_path) == {}


def test_a_folder_that_is_not_there_is_named(tmp_path, capfd):
    assert bundle.main([str(tmp_path / "nowhere" / "out.zip")]) == 1
    assert f"There is no folder {tmp_path / 'nowhere'}: make it" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.assets
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not without_network(), reason="only Linux, where users may make namespaces, takes a network away")
def test_the_real_bundle_sets_up_a_real_course_without_a_network(tmp_path):
    """As an instructor makes it and a learner uses it; ends with a notebook run from what was set up."""
    maker, learner = tmp_path / "maker", tmp_path / "learner"
    for name, path in bundle.course_files(ROOT).items():
        target = maker / name.removeprefix("course/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    file = tmp_path / "course-bundle.zip"
    subprocess.run([sys.executable, maker / "course.py", "fetch", "--all", "--bundle", str(file)], check=True)
    learner.mkdir()
    shutil.copy(maker / "course.py", learner)
    done = offline(sys.executable, learner / "course.py", "--from", file, home=tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    doctor = offline(sys.executable, learner / "course.py", "doctor", home=tmp_path / "home")
    assert doctor.returncode == 0 and "All is well." in doctor.stdout, doctor.stdout
    # A kernel is spoken to over this computer's own interface, which the namespace has but not switched on.
    python = learner / course.PYTHON.relative_to(ROOT)
    code = 'cd notebooks && ip link set lo up && exec "$0" -m nbconvert --to notebook --execute --stdout 13_*.ipynb'
    ran = offline("bash", "-c", code, python, home=tmp_path / "home", cwd=learner)
    assert ran.returncode == 0 and '"output_type": "error"' not in ran.stdout, ran.stderr
