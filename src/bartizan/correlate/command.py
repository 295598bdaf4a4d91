"""The command `bartizan correlate`."""

import sys
from pathlib import Path

import click
import msgspec

from bartizan.correlate.replay import read, replay
from bartizan.errors import BartizanError


@click.group()
def correlate() -> None:
    """Make incidents of alerts."""


@correlate.command("replay")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out", metavar="FILE", required=True, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Where the incidents go, a JSON line each; - for standard output.",
)  # fmt: skip
def replay_command(file: Path, out: Path) -> None:
    """Show what incidents a recorded stream of alerts would have made. Stores nothing.

    FILE is CSV, gzip or not, with the columns time (seconds since 1970), name, ip, host and short; others are not read.
    A line of --out is {"rank", "priority", "alerts", "folds", "first", "last", "title", "reasons", "parts", "links"};
    alerts are row numbers from 0. Lines with "incident": null hold the alerts that belong to none.
    """
    try:
        lines = b"".join(msgspec.json.encode(line) + b"\n" for line in replay(read(file)))
        if str(out) == "-":
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()
        else:
            out.write_bytes(lines)
    except BrokenPipeError:
        raise  # the reader of our output went away: main() knows
    except (BartizanError, OSError) as error:
        raise click.ClickException(f"{file}: {error}") from None
