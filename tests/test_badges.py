"""The repository's name stands in one place; every link is made from it and can be moved by one command."""

import json
import re
import shutil
import subprocess

import pytest

from tools import badges

REPO = badges.repository()
OTHER = "ada-l/my.course_2" if REPO != "ada-l/my.course_2" else "ada-l/my.course_3"


def copied(root):
    """A copy of everything that the program may rewrite."""
    for path in [*badges.texts(), badges.ROOT / "pyproject.toml"]:
        target = root / path.relative_to(badges.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return root


def own_links(text):
    """OWNER/NAME of every link in a text that can be only to this course."""
    return [found[2] for found in re.finditer(f"{badges.OWN_LINK}({badges.NAMED})", text, re.MULTILINE)]


def test_every_link_in_the_tree_names_the_one_place():
    named = {
        (path.name, name)
        for path in badges.texts()
        for name in own_links(path.read_text(encoding="utf-8"))
        if name != REPO
    }
    assert named == set()


def test_placeholder_is_left_nowhere_once_there_is_a_name():
    if REPO != "ORG/REPO":
        assert [path.name for path in badges.texts() if "ORG/REPO" in path.read_text(encoding="utf-8")] == []


def test_links_are_found_in_the_tree():
    """The test above would pass on an empty list."""
    assert [REPO in path.read_text(encoding="utf-8") for path in badges.texts()].count(True) >= 3


def test_no_file_with_such_a_link_is_forgotten():
    """Every file that names the repository is one of those that are rewritten."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=badges.ROOT, capture_output=True, encoding="utf-8")
    if listed.returncode:
        pytest.skip("not a git work tree")
    rewritten = {badges.ROOT / "pyproject.toml", *badges.texts()}
    tools = {badges.ROOT / "tests" / "test_badges.py", badges.ROOT / "tools" / "badges.py"}
    others = {badges.ROOT / name for name in listed.stdout.split("\0") if name} - rewritten - tools
    named = re.compile(rf"github\.com(?:/|%2F){re.escape(REPO).replace('/', '(?:/|%2F)')}\b", re.IGNORECASE)
    found = [
        path.relative_to(badges.ROOT).as_posix()
        for path in sorted(others)
        if path.is_file() and named.search(path.read_bytes().decode("utf-8", "replace"))
    ]
    assert found == []


def test_rewriting_what_is_right_changes_nothing(tmp_path):
    assert badges.rewrite(REPO, copied(tmp_path)) == []


def test_rewriting_there_and_back_gives_the_same_bytes(tmp_path):
    root = copied(tmp_path)
    badges.rewrite(REPO, root)
    before = {path: path.read_bytes() for path in badges.texts(root)}
    changed = badges.rewrite(OTHER, root)
    assert badges.repository(root) == OTHER
    assert root / "README.md" in changed
    assert root / "pyproject.toml" in changed
    for path in badges.texts(root):
        assert set(own_links(path.read_text(encoding="utf-8"))) <= {OTHER}
        assert f"github.com/{REPO}" not in path.read_text(encoding="utf-8")
    badges.rewrite(REPO, root)
    assert {path: path.read_bytes() for path in badges.texts(root)} == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("https://mybinder.org/v2/gh/any/one/main?urlpath=x", "https://mybinder.org/v2/gh/ada/c/main?urlpath=x"),
        ("(https://colab.research.google.com/github/any/o.ne/blob/main/n.ipynb)", None),
        ('"a @ git+https://github.com/any/one@v1"', '"a @ git+https://github.com/ada/c@v1"'),
        (r"git+https://github.com/any/one\n", r"git+https://github.com/ada/c\n"),
        ("git+https://github.com/any/one.git@v1", "git+https://github.com/ada/c.git@v1"),
        ("see https://github.com/old/course.", "see https://github.com/ada/c."),
        ("git clone https://github.com/old/course && cd course", "git clone https://github.com/ada/c && cd c"),
        ("https://github.com/old/course-two", "https://github.com/old/course-two"),
        ("https://github.com/huggingface/transformers", "https://github.com/huggingface/transformers"),
    ],
)
def test_only_links_to_the_course_are_rewritten(before, after):
    expected = before.replace("any/o.ne", "ada/c") if after is None else after
    assert badges.rewritten(before, "old/course", "ada/c") == expected


@pytest.mark.parametrize("line", ["BADGES", "[![Open in Colab](x)](y) [![Launch Binder](z)](w)"])
def test_badge_line_of_a_twin_is_made_new(line):
    text = f"# 02\n\n{line}\n\nBADGES are links.\n"
    expected = f"# 02\n\n{badges.badge_markdown('ada/c', '02_x')}\n\nBADGES are links.\n"
    assert badges.rewritten(text, "old/course", "ada/c", stem="02_x") == expected


@pytest.mark.parametrize("line", ["BADGES", "[![Open in Colab](x)](y) [![Launch Binder](z)](w)"])
def test_badge_line_of_a_notebook_is_made_new(line):
    cells = [{"cell_type": "markdown", "source": ["# 02\n", "\n", f"{line}\n", "\n", "BADGES are links."]}]
    after = json.loads(badges.rewritten(json.dumps(cells, indent=1), "old/course", "ada/c", stem="02_x"))
    cells[0]["source"][2] = badges.badge_markdown("ada/c", "02_x") + "\n"
    assert after == cells


def test_badges_open_the_notebook():
    line = badges.badge_markdown("ada/c", "02_queries_keys_values")
    assert "\n" not in line
    assert "(https://mybinder.org/v2/gh/ada/c/main?urlpath=lab/tree/notebooks/02_queries_keys_values.ipynb)" in line
    assert "(https://colab.research.google.com/github/ada/c/blob/main/notebooks/02_queries_keys_values.ipynb)" in line


@pytest.mark.parametrize("name", ["ada/course", "a/b", "Ada-L/attention.course_2", "a1/-x"])
def test_good_names(name):
    assert badges.validated(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ada",
        "ada/",
        "/course",
        "ada/course/x",
        "-ada/c",
        "ada-/c",
        "a--b/c",
        "ada/c d",
        "ada/..",
        "ada/c.git",
        "a_b/c",
    ],
)
def test_bad_names_are_refused(name, capsys):
    with pytest.raises(ValueError, match="is not OWNER/NAME"):
        badges.validated(name)
    if name:
        assert badges.main(["--", name]) == 1
        assert "ada/attention-course" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/ada/my.course",
        "https://github.com/ada/my.course.git",
        "https://someone@github.com/ada/my.course/",
        "git@github.com:ada/my.course.git",
        "ssh://git@github.com/ada/my.course.git",
    ],
)
def test_name_comes_from_origin(tmp_path, url):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", url], check=True)
    assert badges.from_origin(tmp_path) == "ada/my.course"


def test_other_hosts_and_no_origin_are_refused(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    with pytest.raises(ValueError, match="no origin"):
        badges.from_origin(tmp_path)
    subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", "https://example.org/a/b"], check=True)
    with pytest.raises(ValueError, match="not on GitHub"):
        badges.from_origin(tmp_path)


def test_command_says_what_it_did(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(badges, "ROOT", copied(tmp_path))
    monkeypatch.setattr(badges.rewrite, "__defaults__", (tmp_path,))
    assert badges.main(["ada/c"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "README.md" in lines
    assert lines[-1] == f"{len(lines) - 1} files changed; every link now names ada/c."
