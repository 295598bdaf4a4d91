"""What is read of a sign-in."""

import pytest

from bartizan.identity.events import os_of


@pytest.mark.parametrize(
    ("said", "agent", "family"),
    [
        ("", "axios/1.6.2", ""),
        ("", "Mozilla/5.0 (X11; Linux x86_64) kiosk/3 Chrome/119.0", "Linux"),
        ("kiosk", "", ""),
        ("Ios 17.1", "", "iOS"),
        ("", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X)", "iOS"),
        ("", "Mozilla/5.0 (Linux; Android 14; Pixel 8)", "Android"),
        ("", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", "macOS"),
        ("Windows10", "", "Windows"),
    ],
)
def test_families_of_systems(said: str, agent: str, family: str) -> None:
    assert os_of(said, agent) == family
