"""A process that reads records for another, as `bartizan.app.make`, with sources of tests: `python maker.py N`."""

import os
import pickle
import time
from collections.abc import Iterator

from bartizan.child import line_of_this_process
from bartizan.model import stamps


def main() -> None:
    line = line_of_this_process()
    stamps.adopt(*pickle.loads(line.recv_bytes()))
    import bartizan.sources  # noqa: F401 - registers them
    from bartizan.extend import SOURCES, Event, Record, Source
    from bartizan.ingest.makers import answer

    class Fatal(Source):
        name = "fatal_test"
        vendor = product = "Test"

        def normalise(self, record: Record) -> Iterator[Event]:
            if record.text == "die":
                os._exit(3)
            if record.text == "hang":
                time.sleep(60)
            if record.text == "odd":
                yield Event("GenericEvents", {1: "no name of a column"})  # type: ignore[dict-item]
            yield Event("GenericEvents", {"Message": record.text})

    answer(line, SOURCES)


if __name__ == "__main__":
    main()
