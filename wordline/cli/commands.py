"""All subcommands. Importing this file adds them to the command, in the order of its help."""

from wordline.cli import check, data, describe, report, simulate, studies, synthesise, train
from wordline.cli.app import app, main

__all__ = [
    "app",
    "check",
    "data",
    "describe",
    "main",
    "report",
    "simulate",
    "studies",
    "synthesise",
    "train",
]
