"""Entry point for launchers: `accelerate launch run.py RECIPE [key=value …]` is `headstart run
RECIPE [key=value …]`."""

import sys

from headstart.cli import program

if __name__ == "__main__":
    program(["run", *sys.argv[1:]])
