"""python -m headstart is the command headstart."""

from headstart.cli import program

program()
