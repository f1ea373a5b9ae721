"""The documentation site: `make docs` builds it, offline, and a warning is an error."""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from site_pages import link_outside, write_generated  # noqa: E402

import icl  # noqa: E402

project, author, release = "icl", "the icl authors", icl.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_design"]
html_theme = "pydata_sphinx_theme"
html_title = "icl"
html_theme_options = {
    "show_toc_level": 2,
    "navbar_align": "left",
    "show_prev_next": True,
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": [], "faq": [], "glossary": [], "when_not": [], "how_it_works": [], "install": []}
html_static_path = ["_static"]
html_css_files = ["icl.css"]
html_show_sourcelink = False
html_show_copyright = False
toc_object_entries = False
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # pages of measurements begin where they need to
nb_execution_mode = "force"
nb_execution_timeout = 900  # of a cell, on a machine that others load
nb_execution_raise_on_error = True
nb_merge_streams = True
# Where cells run: said by a library that looks for widgets, with a path of this machine.
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"

autodoc_typehints = "none"  # the signature has them
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "exclude-members": "set_fit_request, set_predict_request, set_score_request, get_metadata_routing, score",
}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Source", "notes_style")]
nitpicky = False
default_role = "code"


SECTION = re.compile(r"(Args|Returns|Raises|Attributes|Source|Sources|Examples|Yields|Parameters):$")


def escaped(app, what, name, obj, options, lines):
    """Docstrings are plain text: outside of backticks no character is markup, and what is indented is code."""
    found, in_sections = [], False
    for i, line in enumerate(lines):
        in_sections = in_sections or bool(SECTION.match(line))
        is_code = not in_sections and line.startswith("    ")
        if is_code:
            if i and not lines[i - 1].strip():
                found += ["::", ""]
            found.append(line)
            continue
        head = re.match(r"\s+[\w, .*]+:(?= )", line) if in_sections else None  # a name, which napoleon escapes itself
        start = head.end() if head else 0
        parts = line[start:].split("`")
        parts[::2] = [re.sub(r"([*|]|(?<=\w)_(?!\w))", r"\\\1", part) for part in parts[::2]]
        found.append(line[:start] + "`".join(parts))
    lines[:] = found


def without_mathjax(app, pagename, templatename, context, doctree):
    """No page has formulas, and the site loads nothing from elsewhere."""
    context["script_files"] = [one for one in context["script_files"] if "mathjax" not in str(one.filename)]


def setup(app):
    app.connect("html-page-context", without_mathjax, priority=900)
    app.connect("builder-inited", lambda app: write_generated())
    app.connect("source-read", link_outside)
    app.connect("autodoc-process-docstring", escaped, priority=400)  # before napoleon
