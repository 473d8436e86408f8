"""How Sphinx makes the site. `make docs` lays its pages together in build/site/pages and calls it there; see scripts/build_site.py."""

import re
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

import simattn

project = "simattn"
author = "The simattn developers"
copyright = author
version = release = simattn.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
exclude_patterns = ["conf.py", "extra", "static", "simattn/studies/**"]
root_doc = "index"
smartquotes = False

# Pages execute as they are built: an error in one is an error of the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 240
nb_execution_show_tb = True
nb_merge_streams = True
nb_eval_name_regex = r"^[^\n]+$"  # an answer may hold any expression of its page's names
nb_ipywidgets_js = {}  # it would come from a CDN, and no page has a widget
nb_execution_excludepatterns = [] if find_spec("torch") else ["*real_kernels*"]  # they need it
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"simattn {release}"
html_static_path = ["static"]
html_extra_path = ["extra"] if Path("extra").is_dir() else []  # the explorer
html_css_files = ["simattn.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
mathjax_path = "mathjax/startup.js"
mathjax3_config = {
    "loader": {"load": ["core", "input/tex", "output/svg"]},
    "options": {"enableMenu": False},
}

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_display_short_literal_types = True
python_maximum_signature_line_length = 88


def as_restructured(app, what, name, found, options, lines):
    """Docstrings are plain text with `code` in backticks, lists by * and examples: make what they mean of it in reStructuredText."""
    example = False
    for number, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            lines[number] = "".join(
                f"`{part}`" if part.startswith("`") else re.sub(r"(?<!^)[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", part)
                for part in re.split(r"(`[^`]*`)", line)
            )


def show_source(app, doctree, docname):
    """A link to a file of the package leads to its page under _modules, where there is one, and not to a file to save."""
    pages = {name for name, entry in getattr(app.env, "_viewcode_modules", {}).items() if entry}
    for link in list(doctree.findall(addnodes.download_reference)):
        module = re.sub(r".*?(simattn/.*)\.py", r"\1", link["reftarget"]).replace("/", ".")
        if module in pages:
            to = app.builder.get_relative_uri(docname, f"_modules/{module.replace('.', '/')}")
            link.replace_self(nodes.reference("", "", *link.children, refuri=to, internal=True))


def setup(app):
    """What this file adds to Sphinx."""
    app.connect("autodoc-process-docstring", as_restructured)
    app.connect("doctree-resolved", show_source)
