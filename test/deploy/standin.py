"""MiniStack with one mend: Lambda lays all layers over each other in /opt, MiniStack unpacks each into a folder of its own.

The functions look for models below /opt, or below MODELAYER_OPT; here that is a folder beside the code, with links to what the layers hold.
"""

import os
import subprocess
import sys

from ministack.core import lambda_runtime

start = subprocess.Popen


def start_with_opt(*args, env=None, **options):
    layers = (env or {}).get("_LAMBDA_LAYERS_DIRS")
    if layers:
        opt = os.path.join(os.path.dirname(options["cwd"]), "opt")
        for layer in layers.split(os.pathsep):
            models = os.path.join(layer, "models")
            for name in os.listdir(models) if os.path.isdir(models) else []:
                os.makedirs(os.path.join(opt, "models"), exist_ok=True)
                os.symlink(os.path.join(models, name), os.path.join(opt, "models", name))
        env = {**env, "MODELAYER_OPT": opt}
    return start(*args, env=env, **options)


class subprocess_with_opt:
    """The module as MiniStack's runner of functions sees it; nothing else of MiniStack is touched."""

    Popen = staticmethod(start_with_opt)

    def __getattr__(self, name):
        return getattr(subprocess, name)


lambda_runtime.subprocess = subprocess_with_opt()

if __name__ == "__main__":
    from ministack.app import main

    sys.exit(main())
