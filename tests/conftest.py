"""With INTERP_CHECK_SHAPES=1 the package's shape annotations are checked at run time."""

import os

# Threads that wait must not spin: on a busy machine spinning starves the thread that works. Read
# once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if os.environ.get("INTERP_CHECK_SHAPES") == "1":
    from jaxtyping import install_import_hook

    install_import_hook("interp", "beartype.beartype")
