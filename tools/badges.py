"""Point every link and badge of the course at one GitHub repository: `python course.py badges OWNER/NAME`.

The repository is written down once, as `Repository` under `[project.urls]` in pyproject.toml. Every other
place that names it is made from there: this program rewrites them all. Without an argument it takes the
repository of git's `origin`. It needs nothing but Python.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# GitHub's own rules: an owner is letters, digits and single dashes; a name also has dots and underscores.
OWNER = r"[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}"
NAME = r"[A-Za-z0-9._-]{1,100}"
SLUG = rf"{OWNER}/[A-Za-z0-9._-]*[A-Za-z0-9_-]"

# The two places before which a link to the repository has something of its own.
LINK_STARTS = ("https://mybinder.org/v2/gh/", "https://colab.research.google.com/github/", "https://github.com/")
WRITTEN = ("README.md", "CITATION.cff", "CONTRIBUTING.md", "CHANGELOG.md")
WRITTEN_IN = (("docs", "*.md"), ("notebooks/text", "*.md"), ("notebooks", "*.ipynb"), ("course_lib", "*.py"))
