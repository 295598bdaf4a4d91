"""The command `bartizan risk`."""

import sys
from pathlib import Path

import click
import msgspec

from bartizan.errors import BartizanError
from bartizan.identity.replay import MAX_PROCESSES, replay


@click.group()
def risk() -> None:
    """Find risky sign-ins."""


@risk.command("replay")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out", metavar="FILE", required=True, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Where the scores go, a JSON line each; - for standard output.",
)  # fmt: skip
@click.option("--processes", type=click.IntRange(1, MAX_PROCESSES), help="Default: one for each processor.")
def replay_command(folder: Path, out: Path, processes: int | None) -> None:
    """Show what risk recorded sign-ins would have had. Stores nothing.

    FOLDER holds signins.jsonl (Graph's signIn documents) and, where there are, audits.jsonl, graphactivity.jsonl,
    users.json and intel/; the .jsonl files may be gzipped. A line of --out is
    {"id", "score", "types", "detectedDateTime", "level"}, one for each sign-in, audit and activity record; the score is
    how likely an attack is, from 0 to 1.
    """
    try:
        lines = b"".join(msgspec.json.encode(line) + b"\n" for line in replay(folder, processes or 0))
        if str(out) == "-":
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()
        else:
            out.write_bytes(lines)
    except BrokenPipeError:
        raise  # the reader of our output went away: main() knows
    except (BartizanError, OSError) as error:
        raise click.ClickException(f"{folder}: {error}") from None
