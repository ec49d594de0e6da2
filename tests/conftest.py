"""Shape annotations of the package are checked at run time in every test."""

from jaxtyping import install_import_hook

install_import_hook("interp", "beartype.beartype")
