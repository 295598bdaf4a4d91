"""parse_user_agent: as the documentation prints it, and as the package of its rules reads the same texts. Without that
package it is refused, and its column is known."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.hunt.calls import call, dynamic, string
from tests.hunt.harness import Harness

from bartizan.hunt.fault import KqlError

ROOT = Path(__file__).parents[2]
HARNESS = Harness({})
INSTALLED = find_spec("ua_parser_builtins") is not None
needs_rules = pytest.mark.skipif(not INSTALLED, reason="the extra 'agents' is not installed")
AIR = "Mozilla/5.0 (Windows; U; en-US) AppleWebKit/531.9 (KHTML, like Gecko) AdobeAIR/2.5.1"
NOKIA = ("Mozilla/5.0 (SymbianOS/9.2; U; Series60/3.1 NokiaN81-3/10.0.032 Profile/MIDP-2.0 Configuration/CLDC-1.1 ) "
         "AppleWebKit/413 (KHTML, like Gecko) Safari/4")  # fmt: skip
AGENTS = [
    "",
    "x",
    "curl/8.0",
    "python-requests/2.31.0",
    "axios/1.7.2",
    "$1$2 \x00 é '\"\\",
    "Explorer$2/7 CFNetwork",
    "BAV2ROPC",
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.10395; Pro)",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 "
    "Edg/120.0.2210.91",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 "
    "Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.6045.163 Mobile "
    "Safari/537.36",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)",
    AIR,
    NOKIA,
]


@needs_rules
def test_agents_of_the_documentation() -> None:
    assert call("parse_user_agent", string(AIR), string("browser")) == {
        "Browser": {"Family": "AdobeAIR", "MajorVersion": "2", "MinorVersion": "5", "Patch": "1"}
    }
    assert call("parse_user_agent", string(NOKIA), dynamic(["browser", "os", "device"])) == {
        "Browser": {"Family": "Nokia OSS Browser", "MajorVersion": "3", "MinorVersion": "1", "Patch": ""},
        "OperatingSystem": {"Family": "Symbian OS", "MajorVersion": "9", "MinorVersion": "2", "Patch": "",
                            "PatchMinor": ""},
        "Device": {"Family": "Nokia N81", "Brand": "Nokia", "Model": "N81-3"},
    }  # fmt: skip


def read(agent: str) -> dict[str, Any]:
    """What the package says."""
    found = pytest.importorskip("ua_parser").parse(agent)
    parts = {
        "Browser": (found.user_agent, {"Family": "family", "MajorVersion": "major", "MinorVersion": "minor",
                                       "Patch": "patch"}),
        "OperatingSystem": (found.os, {"Family": "family", "MajorVersion": "major", "MinorVersion": "minor",
                                       "Patch": "patch", "PatchMinor": "patch_minor"}),
        "Device": (found.device, {"Family": "family", "Brand": "brand", "Model": "model"}),
    }  # fmt: skip
    made: dict[str, Any] = {}
    for name, (one, fields) in parts.items():
        made[name] = {told: getattr(one, field, None) or "" for told, field in fields.items()}
        made[name]["Family"] = made[name]["Family"] or "Other"
    return made


@needs_rules
def test_agents_are_read_as_the_package_reads_them() -> None:
    told = ", ".join(json.dumps(each) for each in AGENTS)
    query = f"datatable(a: string)[{told}] | project parse_user_agent(a, dynamic(['device', 'os', 'browser']))"
    assert [row[0] for row in HARNESS.run(query)[1]] == [read(each) for each in AGENTS]


@needs_rules
@pytest.mark.parametrize("told", ["'cpu'", "dynamic([])", "dynamic(['os', 1])", "dynamic({})", "dynamic(null)"])
def test_what_is_looked_for_is_one_of_three(told: str) -> None:
    with pytest.raises(KqlError, match="browser, os, device"):
        HARNESS.run(f"print parse_user_agent('x', {told})")


WITHOUT = """
import sys
sys.modules["ua_parser_builtins"] = None  # as if the package were not there
from tests.hunt.harness import Harness
from bartizan.hunt.catalogue import of_columns
from bartizan.hunt.fault import KqlError
from bartizan.hunt.front import translate
from datetime import UTC, datetime
harness = Harness({})
try:
    translate("print parse_user_agent('', 'os')", of_columns({}), storage=harness, now=datetime.now(UTC))
except KqlError as fault:
    print(fault.phase, fault.column, fault.message)
print(*harness.run("print a = '' | where a == 'x' | extend b = parse_user_agent(a, 'os')"))
"""


def test_without_its_rules_it_is_refused() -> None:
    """At its place; on empty tables it has its column."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    refused, answer = done.stdout.splitlines()
    assert refused.startswith("plan 7 ") and "not installed" in refused
    assert "('b', 'dynamic')" in answer and answer.endswith(" []")
