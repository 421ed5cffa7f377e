"""Command line: the commands, what their words stand for, and what they show. Calls every room."""

from ppvae.cli.app import app as app
from ppvae.cli.app import main as main
