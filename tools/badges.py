"""Point every link and badge of the course at one GitHub repository: `python -m tools.badges [OWNER/NAME]`.

The repository is written down once, as `Repository` under `[project.urls]` in pyproject.toml. Every other
place that names it is made from there: this program rewrites them all. Without an argument it takes the
repository that git's `origin` points at. It needs nothing but Python.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXTS = (
    "*.md",
    "CITATION.cff",
    "docs/**/*.md",
    "notebooks/text/*.md",
    "notebooks/*.ipynb",
    "course_lib/**/*.py",
)

# GitHub's rules: an owner has letters, digits and single dashes, a name dots and underscores too.
SLUG = r"[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}"
# What stands before the repository in a link that can be only to this course, whatever it names now.
OWN_LINK = r"(mybinder\.org/v2/gh/|colab\.research\.google\.com/github/|git\+https://github\.com/)"
NAMED = r"[^/\s]+/[^/\s@\"'\\)#?]+?(?=(?:\.git)?(?:[/\s@\"'\\)#?]|$))"
# The line of badges below a notebook's title, in a twin or between the quotes of an .ipynb; BADGES holds its place.
BADGE_LINE = r'^( *"|)(?:BADGES|\[!\[Open in Colab\].*?)(\\n",|)$'


def repository(root: Path = ROOT) -> str:
    """OWNER/NAME of the course's repository, from pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].removeprefix("https://github.com/")


def colab_url(repo: str, stem: str) -> str:
    """Where Colab opens the notebook of this file name (`02_queries_keys_values`)."""
    return f"https://colab.research.google.com/github/{repo}/blob/main/notebooks/{stem}.ipynb"


def binder_url(repo: str, stem: str) -> str:
    """Where Binder builds the course and opens the notebook in JupyterLab."""
    return f"https://mybinder.org/v2/gh/{repo}/main?urlpath=lab/tree/notebooks/{stem}.ipynb"


def hub_url(repo: str, hub: str, stem: str) -> str:
    """Where a JupyterHub with nbgitpuller brings a learner's copy up to date and opens the notebook.

    The copy lies in a folder of one name, whatever the repository is called.
    """
    pull = f"{hub}/hub/user-redirect/git-pull?repo=https://github.com/{repo}&branch=main"
    return f"{pull}&targetPath=attention-course&urlpath=lab/tree/attention-course/notebooks/{stem}.ipynb"


def badge_markdown(repo: str, stem: str, images: str = "images") -> str:
    """The line of badges of one notebook, for README's table and below the notebook's title.

    The pictures lie in the course (`images` is their folder as seen from the page): without a network, pictures from
    elsewhere would greet the learner as broken.
    """
    colab = f"[![Open in Colab]({images}/colab.svg)]({colab_url(repo, stem)})"
    return f"{colab} [![Launch Binder]({images}/binder.svg)]({binder_url(repo, stem)})"


def validated(repo: str) -> str:
    """The name itself. Raises ValueError where GitHub has no such names."""
    if not re.fullmatch(SLUG, repo) or repo.endswith(".git"):
        raise ValueError(f"{repo!r} is not OWNER/NAME, such as ada/attention-course")
    return repo


def from_origin(root: Path = ROOT) -> str:
    """OWNER/NAME of git's origin. Raises ValueError where there is none or it is not on GitHub."""
    asked = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        url = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        raise ValueError("git has no origin here: say which repository, `badges OWNER/NAME`") from None
    found = re.fullmatch(r"(?:https://(?:[^/@]+@)?|ssh://git@|git@)github\.com[/:](.+?)(?:\.git)?/?", url)
    if not found:
        raise ValueError("git's origin is not on GitHub: say which repository, `badges OWNER/NAME`")
    return validated(found[1])


def texts(root: Path = ROOT) -> Iterator[Path]:
    """Every file that may link to the repository, pyproject.toml left out."""
    for pattern in TEXTS:
        yield from sorted(root.glob(pattern))


def rewritten(text: str, old: str, new: str, stem: str | None = None) -> str:
    """The text with its links to `old`, and every badge, pointing at `new`; `stem` is that of a notebook."""
    text = re.sub(OWN_LINK + NAMED, rf"\g<1>{new}", text, flags=re.MULTILINE)
    text = re.sub(rf"(https://github\.com/){re.escape(old)}(?![\w-])", rf"\g<1>{new}", text)
    text = re.sub(r"(git clone https://github\.com/\S+ && cd )\S+", rf"\g<1>{new.split('/')[1]}", text)
    if stem:
        text = re.sub(BADGE_LINE, rf"\g<1>{badge_markdown(new, stem)}\g<2>", text, count=1, flags=re.MULTILINE)
    return text


def rewrite(new: str, root: Path = ROOT) -> list[Path]:
    """Make every link under `root` name `new`; return the files that changed. The one place changes last."""
    old, changed = repository(root), []
    for path in [*texts(root), root / "pyproject.toml"]:
        before = path.read_bytes().decode("utf-8")
        after = rewritten(before, old, new, path.stem if "notebooks" in path.relative_to(root).parts else None)
        if after != before:
            path.write_bytes(after.encode("utf-8"))
            changed.append(path)
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the tree and say which files changed."""
    parser = argparse.ArgumentParser(prog="python course.py badges", description=__doc__.splitlines()[0])
    parser.add_argument("repository", nargs="?", metavar="OWNER/NAME", help="by default that of git's origin")
    wanted = parser.parse_args(arguments).repository
    try:
        repo = validated(wanted) if wanted else from_origin()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    changed = rewrite(repo)
    for path in changed:
        print(path.relative_to(ROOT).as_posix())
    print(f"{len(changed)} files changed; every link now names {repo}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
