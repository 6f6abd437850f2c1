"""Build the rendered site and open it: `python -m tools.site [--no-open] [--to DIR]`."""

import argparse
import sys
import time
import webbrowser
from pathlib import Path

from sphinx.cmd.build import main as sphinx_build

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "site"


def build(target: Path = SITE) -> int:
    """Write the site into `target`; every warning is a failure. Returns Sphinx's exit code, 0 for success."""
    switches = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(target.parent / f"{target.name}-doctrees")]
    return sphinx_build([*switches, str(ROOT / "docs"), str(target)])


def main(arguments: list[str] | None = None) -> int:
    """Build, say where the first page lies, and open it in a browser unless told not to."""
    parser = argparse.ArgumentParser(prog="python course.py site", description=__doc__.splitlines()[0])
    parser.add_argument("--no-open", action="store_true", help="build only")
    parser.add_argument("--to", type=Path, default=SITE, metavar="DIR", help="where to write (default: build/site)")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    code = build(options.to.resolve())
    if code:
        return code
    page = options.to.resolve() / "index.html"
    print(f"The site is built ({time.monotonic() - start:.0f} s): {page}")
    if not options.no_open:
        webbrowser.open(page.as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())
