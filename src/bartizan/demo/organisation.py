"""The people and machines of the sample organisation, made from a seed: the same seed gives the same organisation."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

DOMAIN = "northwall.example"
_SPACE = UUID("5f2d8a52-6a9b-4a52-9d5b-2f5a3e0c7b11")

_DOMAIN_SID = "S-1-5-21-1004336348-1177238915-682003330"

_GIVEN = (
    "Ada Bela Chidi Dalia Emil Farah Goran Hana Ines Jonas Kaya Liam Mei Nadia Omar Petra Quentin Rosa Sven Tova Uma "
    "Viktor Wanda Ximena Yusuf Zoe Anton Bianca Cyrus Dora"
).split()
_FAMILY = (
    "Abara Berg Castillo Dimov Eriksen Fontaine Grabow Haddad Ito Jansen Keller Lindqvist Moreau Novak Okafor Palmer "
    "Quist Rossi Sato Tanaka Ullmann Vargas Weber Xu Yilmaz Zielinski"
).split()
_DEPARTMENTS = ("Finance", "Engineering", "Sales", "Operations", "Legal", "IT")
_TITLES = {
    "Finance": "Accountant",
    "Engineering": "Engineer",
    "Sales": "Account Executive",
    "Operations": "Planner",
    "Legal": "Counsel",
    "IT": "Administrator",
}


@dataclass(frozen=True)
class Office:
    city: str
    state: str
    country: str
    latitude: float
    longitude: float
    address: str  # public address behind which the office sits
    network: str  # first three octets of its private network


OFFICES = (
    Office("Zurich", "Zurich", "CH", 47.37, 8.54, "192.0.2.10", "10.10.1"),
    Office("Lyon", "Rhone", "FR", 45.76, 4.84, "192.0.2.20", "10.20.1"),
    Office("Boston", "Massachusetts", "US", 42.36, -71.06, "192.0.2.30", "10.30.1"),
)


# What attacks it: where the attacker signs in from, and the file that he leaves.
FAR = Office("Manaus", "Amazonas", "BR", -3.12, -60.02, "203.0.113.66", "")
LOADER_SHA256 = "9f2c1d4e7b6a5083c1e2f3a4b5c6d7e8f90112233445566778899aabbccddee0"


@dataclass(frozen=True)
class Machine:
    id: str
    name: str
    address: str
    system: str
    version: str

    @property
    def fqdn(self) -> str:
        return f"{self.name.lower()}.{DOMAIN}"


@dataclass(frozen=True)
class Person:
    id: str
    given: str
    family: str
    department: str
    office: Office
    machine: Machine
    employee: str
    home_address: str

    @property
    def name(self) -> str:
        return f"{self.given} {self.family}"

    @property
    def account(self) -> str:
        return f"{self.given}.{self.family}".lower()

    @property
    def upn(self) -> str:
        return f"{self.account}@{DOMAIN}"


def sample_id(*parts: str) -> str:
    """A GUID that the same parts always give."""
    return str(uuid5(_SPACE, "/".join(parts)))


class Organisation:
    """`people` persons over three offices, each with a machine; servers, groups, roles and applications around them."""

    def __init__(self, seed: int = 7, people: int = 60) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a sample, not a secret
        self.people = [self._person(i) for i in range(people)]
        self.servers = [
            Machine(
                sample_id("server", name), name, f"10.10.9.{i + 10}", system, "10.0" if system == "Windows" else "12"
            )
            for i, (name, system) in enumerate(
                (("NW-DC01", "Windows"), ("NW-FILE01", "Windows"), ("NW-WEB01", "Linux"), ("NW-K8S01", "Linux"))
            )
        ]
        self.applications = [
            (sample_id("app", name), name)
            for name in ("Payroll", "Source Control", "Office Suite", "Customer Desk", "Backup Agent")
        ]

    def _person(self, number: int) -> Person:
        draw = self.random
        given, family = _GIVEN[number % len(_GIVEN)], _FAMILY[(number * 7 + number // len(_GIVEN)) % len(_FAMILY)]
        office = OFFICES[number % len(OFFICES)]
        department = _DEPARTMENTS[number % len(_DEPARTMENTS)]
        system = "macOS" if draw.random() < 0.25 else "Windows"
        machine = Machine(
            sample_id("device", str(number)),
            f"NW-{'MAC' if system == 'macOS' else 'WKS'}{number:03d}",
            f"{office.network}.{number + 20}",
            system,
            "15.1" if system == "macOS" else "10.0.26100",
        )
        home = f"198.51.100.{number % 200 + 10}"
        return Person(
            sample_id("user", str(number)), given, family, department, office, machine, f"E{1000 + number}", home
        )

    def users(self) -> Iterator[dict[str, Any]]:
        for person in self.people:
            yield {
                "id": person.id,
                "displayName": person.name,
                "givenName": person.given,
                "surname": person.family,
                "userPrincipalName": person.upn,
                "mail": person.upn,
                "mailNickname": person.account,
                "accountEnabled": True,
                "department": person.department,
                "jobTitle": _TITLES[person.department],
                "employeeId": person.employee,
                "city": person.office.city,
                "country": person.office.country,
                "usageLocation": person.office.country,
                "userType": "Member",
                "onPremisesSamAccountName": person.account,
                "onPremisesDomainName": DOMAIN,
                "onPremisesSecurityIdentifier": f"{_DOMAIN_SID}-{1100 + int(person.employee[1:])}",
            }

    def devices(self) -> Iterator[dict[str, Any]]:
        for machine in [p.machine for p in self.people] + self.servers:
            yield {
                "id": machine.id,
                "deviceId": sample_id("deviceId", machine.id),
                "displayName": machine.name,
                "accountEnabled": True,
                "operatingSystem": machine.system,
                "operatingSystemVersion": machine.version,
                "isCompliant": True,
                "isManaged": True,
                "trustType": "AzureAd",
            }

    def groups(self) -> Iterator[tuple[dict[str, Any], list[Person]]]:
        for department in _DEPARTMENTS:
            yield (
                {
                    "id": sample_id("group", department),
                    "displayName": department,
                    "description": f"Everyone in {department}",
                    "mailEnabled": False,
                    "mailNickname": department.lower(),
                    "securityEnabled": True,
                    "groupTypes": [],
                },
                [p for p in self.people if p.department == department],
            )

    def roles(self) -> Iterator[tuple[dict[str, Any], list[Person]]]:
        administrators = [p for p in self.people if p.department == "IT"]
        for name, template, members in (
            ("Global Administrator", "62e90394-69f5-4237-9190-012177145e10", administrators[:2]),
            ("Security Reader", "5d6b6bb7-de71-4623-b4af-96380a352509", administrators[2:5]),
        ):
            yield (
                {
                    "id": sample_id("role", name),
                    "displayName": name,
                    "roleTemplateId": template,
                    "description": f"Members hold the role {name}",
                },
                members,
            )

    def service_principals(self) -> Iterator[dict[str, Any]]:
        for app_id, name in self.applications:
            yield {
                "id": sample_id("servicePrincipal", name),
                "appId": app_id,
                "displayName": name,
                "appDisplayName": name,
                "accountEnabled": True,
                "servicePrincipalType": "Application",
                "tags": [],
            }
