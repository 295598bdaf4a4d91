"""What actions are called, and what connectors may say of them."""

import pytest

from bartizan import connectors
from bartizan.errors import BadRequest
from bartizan.extend.actions import NAMED, STANDARD, offered, standard_name, undo_of, usable
from bartizan.extend.connectors import CONNECTORS, Target


def test_names_mean_one_thing() -> None:
    spelt = [name.lower() for known, standard in STANDARD.items() for name in (known, *standard.also)]
    assert len(spelt) == len(set(spelt))
    assert {standard_name(name) for name in spelt} == STANDARD.keys()
    assert standard_name(" BlockIP ") == "blockAddress" and standard_name("own") == "own"


def test_undo_takes_back() -> None:
    """What is taken back takes back, on the same kind of target."""
    for name, standard in STANDARD.items():
        if standard.undo is not None:
            assert STANDARD[standard.undo].undo == name and STANDARD[standard.undo].target == standard.target


def test_connectors_mean_what_everybody_means() -> None:
    """An action with a standard name has its target, and no parameter that names one; an undo is offered too."""
    connectors.load()
    assert CONNECTORS
    for kind in CONNECTORS.values():
        names = [standard_name(name).lower() for name in kind.offers]
        assert len(names) == len(set(names)), f"{kind.name} offers an action twice"
        for name, offer in kind.offers.items():
            standard = STANDARD.get(standard_name(name))
            assert standard is None or standard.target == offer.target, f"{kind.name}: {name}"
            taken = {each.lower() for each in NAMED[offer.target]} & {each.lower() for each in offer.parameters}
            assert not taken, f"{kind.name}: {name} has a parameter {taken} that names its target"
            if offer.undo is not None:
                assert offered(kind, offer.undo), f"{kind.name}: {name} names an undo that it does not offer"
                assert undo_of(kind, name) is not None


@pytest.mark.parametrize(
    ("kind", "parameter", "text", "read"),
    [
        ("address", "ip", " 198.51.100.7 ", "198.51.100.7"),
        ("address", "ip", "::ffff:198.51.100.7", "198.51.100.7"),
        ("address", "ip", "[2001:DB8:0::1]", "2001:db8::1"),
        ("address", "ip", "fe80::1%eth0", None),
        ("file", "sha256", "AB" * 32, "ab" * 32),
        ("file", "fileHash", "ab" * 20, "ab" * 20),
        ("file", "sha1", "ab" * 16, None),
        ("file", "hash", "xy" * 16, None),
        ("domain", "domain", "Bad.Example.", "bad.example"),
        ("domain", "domain", "198.51.100.7", None),
        ("domain", "domain", "https://bad.example/", None),
        ("url", "url", "HTTPS://bad.example/A?b=C", "HTTPS://bad.example/A?b=C"),
        ("url", "url", "https:///path", None),
        ("url", "url", "https://a b/", None),
        ("user", "upn", "Ada@x.example", "Ada@x.example"),
        ("user", "upn", "a\nb", None),
        ("user", "upn", "a" * 2_049, None),
        ("device", "host", "\u202esrv1", None),
    ],
)
def test_targets(kind: Target, parameter: str, text: str, read: str | None) -> None:
    if read is None:
        with pytest.raises(BadRequest, match=parameter):
            usable(kind, parameter, text)
    else:
        assert usable(kind, parameter, text) == read
