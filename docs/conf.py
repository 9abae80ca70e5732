"""How Sphinx makes the site of these documents: `make docs`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import dsage

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

logging.getLogger("alembic").setLevel(logging.WARNING)  # it would tell of its plugins

project = "DSage"
author = "The DSage developers"
copyright = "The DSage developers, Apache License 2.0"
version = release = dsage.__version__
language = "en"

extensions = [
    "from_code",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
nitpicky = False

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

# What docstrings quote is code or names of it, as in Markdown.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
copybutton_copy_empty_lines = False
copybutton_line_continuation_character = "\\"

html_theme = "furo"
html_title = "DSage"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_favicon = "_static/mark.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
html_theme_options = {
    "light_logo": "mark.svg",
    "dark_logo": "mark.svg",
    "navigation_with_keys": True,
    "top_of_page_buttons": [],
}
