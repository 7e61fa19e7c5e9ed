"""`python -m malmungchi.pipelines` is the command `malmungchi`."""

from malmungchi.pipelines.cli.main import command

command()
