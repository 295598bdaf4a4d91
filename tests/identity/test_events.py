"""What is read of a sign-in."""

from typing import Any

import msgspec
import pytest

from bartizan.identity.events import address_of, decode_sign_in, of_raw, os_of, prefix_of, product_of, seconds, sign_in


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


@pytest.mark.parametrize(
    ("said", "address", "prefix"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2"),
        (" 192.0.2.7", "192.0.2.7", "192.0.2"),
        ("192.0.2.7:52311", "192.0.2.7", "192.0.2"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2"),
        ("2001:DB8:0:0::1", "2001:db8::1", "2001:0db8:0000"),
        ("[2001:db8::1]:443", "2001:db8::1", "2001:0db8:0000"),
        ("2001:db8::1%eth0", "2001:db8::1", "2001:0db8:0000"),
        ("unknown", "unknown", ""),
        ("", "", ""),
    ],
)
def test_one_address_has_one_spelling(said: str, address: str, prefix: str) -> None:
    assert (address_of(said), prefix_of(address_of(said))) == (address, prefix)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02T09:00:00Z",
        "2026-03-02T09:00:00.0000000Z",
        "2026-03-02T11:00:00+02:00",
        "2026-03-02T14:30:00.000+05:30",
        "2026-03-02 09:00:00",
    ],
)
def test_an_instant_is_one_however_it_is_written(text: str) -> None:
    assert seconds(text) == 1772442000.0


@pytest.mark.parametrize(
    ("agent", "products"),
    [
        ("azsdk-python-identity/1.15.0 Python/3.11.8 (Linux-6.5.0-azure)", "azsdk-python-identity python"),
        ("azsdk-python-identity/1.16.1 Python/3.12.4 (Linux-6.8.0-azure)", "azsdk-python-identity python"),
        ("python-requests/2.31", "python-requests"),
        ("", ""),
    ],
)
def test_a_program_is_the_same_in_another_version(agent: str, products: str) -> None:
    assert product_of(agent) == products


PLAIN = {"id": "1", "createdDateTime": "2026-03-02T09:00:00Z", "userId": "u", "ipAddress": "192.0.2.7"}


@pytest.mark.parametrize(
    "more",
    [
        dict.fromkeys(("status", "location", "deviceDetail", "userAgent", "sessionId", "signInEventTypes")),
        {"status": {"errorCode": None}, "location": {"geoCoordinates": None}, "deviceDetail": {"isManaged": None}},
        {"status": {"errorCode": "0"}, "autonomousSystemNumber": "0", "deviceDetail": {"isCompliant": "false"}},
        {"location": {"geoCoordinates": {"latitude": 0, "longitude": 0.0}}},
        {"ipAddress": "::ffff:192.0.2.7"},
    ],
)
def test_what_says_nothing_more_reads_the_same(more: dict[str, Any]) -> None:
    """From a recorded stream and from the store."""
    body = {**PLAIN, **more}
    read = sign_in(body)
    assert read == of_raw(decode_sign_in(msgspec.json.encode(body))) == sign_in(PLAIN)


def test_who_signs_in_follows_from_the_kind_of_sign_in() -> None:
    """Some tell of a program with the name of a user beside it."""
    told = {**PLAIN, "servicePrincipalId": "sp", "servicePrincipalName": "job", "userPrincipalName": "job"}
    program = sign_in({**told, "signInEventTypes": ["servicePrincipal"]})
    assert (program.principal, program.workload) == ("sp", True)
    person = sign_in({**told, "signInEventTypes": ["interactiveUser"]})
    assert (person.principal, person.workload) == ("u", False)
