"""`python -m nccl_net_srv6`: where the libraries are, and exports for a shell."""

import argparse
import shlex
import sys

from nccl_net_srv6 import env, plugin_path, shim_path


def main():
    parser = argparse.ArgumentParser(prog="python -m nccl_net_srv6", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--env", action="store_true", help='print the environment of a job: eval "$(python -m nccl_net_srv6 --env)"'
    )
    what.add_argument("--plugin-path", action="store_true", help="print what NCCL_NET_PLUGIN takes")
    what.add_argument("--shim-path", action="store_true", help="print what LD_PRELOAD takes")
    parser.add_argument("--shim", action="store_true", help="with --env: preload the shim too")
    arguments = parser.parse_args()
    if arguments.shim and not arguments.env:
        parser.error("--shim goes with --env")
    try:
        if arguments.env:
            for name, value in env(shim=arguments.shim).items():
                print(f"export {name}={shlex.quote(value)}")
        else:
            print(plugin_path() if arguments.plugin_path else shim_path())
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"nccl_net_srv6: {error}")


if __name__ == "__main__":
    main()
