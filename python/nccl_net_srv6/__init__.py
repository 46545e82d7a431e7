"""The NCCL net plugin that steers connections over SRv6 paths, as a package of libraries.

`plugin_path()` is what NCCL_NET_PLUGIN takes, `shim_path()` what LD_PRELOAD takes, `env()` the environment of a job.
"""

import os
from pathlib import Path

__all__ = ["env", "plugin_path", "shim_path"]

PLUGIN = "libnccl-net-srv6.so"
SHIM = "libsrv6-shim.so"


def plugin_path():
    """The plugin's absolute path. FileNotFoundError in a package that was built without libraries."""
    return _library(PLUGIN)


def shim_path():
    """The preload library's absolute path. FileNotFoundError in a package that was built without libraries."""
    return _library(SHIM)


def env(shim=False):
    """The environment by which any NCCL loads the plugin, and insists on it; with `shim` also LD_PRELOAD.

    What LD_LIBRARY_PATH and LD_PRELOAD have stays in them. The loader reads both when a process starts, so this is
    for one to come; in a running one set NCCL_NET_PLUGIN to `plugin_path()`, which NCCL before 2.21 and 2.27 don't take.
    """
    folder = str(Path(plugin_path()).parent)
    paths = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path not in ("", folder)]
    variables = {
        "NCCL_NET_PLUGIN": "srv6",
        "NCCL_NET": "SRv6",
        # NCCL 2.28.3 to 2.29.7 unload a plugin with its last communicator, and go on without it.
        "NCCL_NET_PLUGIN_REF_COUNT": "1",
        "LD_LIBRARY_PATH": ":".join([folder, *paths]),
    }
    if shim:
        if set(shim_path()) & set(" :"):
            raise ValueError(f"{shim_path()}: LD_PRELOAD can't name a path with a blank or a colon")
        preloaded = os.environ.get("LD_PRELOAD", "").replace(":", " ").split()
        variables["LD_PRELOAD"] = " ".join([*(path for path in preloaded if path != shim_path()), shim_path()])
    return variables


def _library(name):
    path = Path(__file__).resolve().parent / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: this package was built without libraries; install a wheel of scripts/build-wheel"
        )
    return str(path)
