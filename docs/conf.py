"""Settings of the rendered site: `python course.py site` builds it, `sphinx-build -W docs DIR` does the same."""

import os
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]
os.environ.setdefault("MPLBACKEND", "agg")

_project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
repository = _project["urls"]["Repository"]

project = "Attention to BERT"
release = _project["version"]
author = "the authors of the course"
project_copyright = "text and figures CC BY 4.0, code Apache 2.0"
language = "en_GB"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "attention_demo",
    "benchmark_page",
    "course_sources",
    "course_map",
    "gallery",
    "glossary_links",
    "instructor",
    "native_math",
]
exclude_patterns = ["_ext", "_static", "_templates"]

# Notebooks are shown as they are stored: a strict re-run compares their outputs elsewhere.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # the default knows no tables, and notebooks show some
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_update_mathjax = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_display_short_literal_types = True
python_use_unqualified_type_names = True
default_role = "code"
add_module_names = False

html_theme = "sphinx_book_theme"
html_title = "Attention to BERT"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "native"
html_theme_options = {
    "repository_url": repository,
    "repository_branch": "main",
    "path_to_docs": "",
    "launch_buttons": {
        "colab_url": "https://colab.research.google.com",
        "binderhub_url": "https://mybinder.org",
        "notebook_interface": "jupyterlab",
    },
    "use_download_button": False,
    "navbar_persistent": [],
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
