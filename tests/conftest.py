"""Shape annotations of the package are checked at run time in every test."""

import os

# Threads that wait must not spin: on a busy machine spinning starves the thread that works. Read once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jaxtyping import install_import_hook

install_import_hook("interp", "beartype.beartype")
