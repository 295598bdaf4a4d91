"""Writes what the program needs of the schema: `model/edm.json`, `model/graph.py` and `model/security.py`.

    python schema/generate.py

Input: `v1.0.json`, `beta.json` (see cut.py), `directory.json` (see sdk.py) and `additions.json` beside this file. The
same input gives the same bytes.

`edm.json` has both versions. The two modules have one msgspec.Struct per type that code builds, with the properties of
both versions together.
"""

import json
import keyword
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODEL = HERE.parent / "src" / "bartizan" / "model"
VERSIONS = ("v1.0", "beta")
GRAPH = "microsoft.graph."
SECURITY = "microsoft.graph.security."
WIDTH = 120

# Below these a type does not carry @odata.type for their sake: nearly everything derives from them.
FAMILY_ROOTS = {
    f"{GRAPH}{name}"
    for name in (
        "entity directoryObject policyBase policyDeletableItem stsPolicy tenantRelationshipAccessPolicyBase "
        "unifiedRoleScheduleBase unifiedRoleScheduleInstanceBase privilegedAccessSchedule "
        "privilegedAccessScheduleInstance"
    ).split()
}

# What code builds; their properties' types come along. Matched against the whole name behind `microsoft.graph.`.
BUILT = re.compile(
    "alert|secureScore|secureScoreControlProfile|tiIndicator|securityAction|resultInfo|.*SecurityProfile|cloudAppSecurityProfile"
    "|providerTenantSetting|riskDetection|riskyUser|riskyUserHistoryItem|servicePrincipalRiskDetection|riskyServicePrincipal"
    "|riskyServicePrincipalHistoryItem|riskyAgent|agentRiskDetection|.*RiskEvent|signIn|directoryAudit|provisioningObjectSummary"
    "|user|group|device|servicePrincipal|directoryRole|organization|subscription|changeNotification(Collection)?|appRoleAssignment"
    "|oAuth2PermissionGrant|licenseDetails|userRegistrationDetails|credentialUserRegistrationDetails"
    r"|security\.(alert|.*Evidence|incident|alertComment|huntingQueryResults|healthIssue|mergeResponse|detectionRule)"
)

SCALARS = {
    "Edm.Boolean": "bool",
    "Edm.Byte": "int",
    "Edm.SByte": "int",
    "Edm.Int16": "int",
    "Edm.Int32": "int",
    "Edm.Int64": "int",
    "Edm.Double": "float",
    "Edm.Single": "float",
    "Edm.Decimal": "float",
}
ANNOTATION_WORDS = {"bool", "int", "float", "str", "list", "dict", "Any"}  # a field of such a name would hide the type

Schema = dict[str, Any]


# ---------------------------------------------------------------- reading


def read(name: str) -> Schema:
    schema: Schema = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return schema


def merged() -> dict[str, Schema]:
    """Each version's facts with the additions in place. Raises where a name is not declared or declared twice."""
    versions = {version: read(version) for version in VERSIONS}
    additions = read("additions")
    for copy in additions["copies"]:
        source, target = versions[copy["from"]], versions[copy["to"]]
        for name in reached(source, target, copy["name"]) if copy.get("whole") else [copy["name"]]:
            for part in ("types", "enums"):
                if name in source[part]:
                    add(target[part], name, source[part][name])
    directory = read("directory")
    for part in ("types", "enums"):
        for fact in [*directory[part], *additions[part]]:
            body = {key: fact[key] for key in fact if key not in ("name", "versions", "why")}
            for version in fact["versions"]:
                add(versions[version][part], fact["name"], body)
    for fact in additions["corrections"]:
        for version in fact["versions"]:
            versions[version]["types"][fact["type"]]["props"][fact["name"]] = fact["is"]
            if "flags" in fact:
                versions[version]["enums"][fact["is"]]["flags"] = fact["flags"]
    for fact in additions["properties"]:
        for version in fact["versions"]:
            add(
                versions[version]["types"][fact["type"]]["props"],
                fact["name"],
                fact["is"] + (" input" if fact.get("input") else ""),
            )
    for fact in additions["inline"]:
        for version in fact["versions"]:
            kind = versions[version]["types"][fact["type"]]
            add(kind["props"], fact["name"], kind["nav"].pop(fact["name"]).removesuffix(" contained"))
    for fact in additions["aliases"]:
        for schema in versions.values():
            add(schema[fact["of"]][fact["name"]].setdefault("also", {}), fact["also"], fact["means"])
    for fact in additions["open"]:
        for version in fact["versions"]:
            versions[version]["types"][fact["type"]]["open"] = True
    for version, schema in versions.items():
        check(version, schema)
    return versions


def reached(source: Schema, target: Schema, name: str) -> list[str]:
    """The type, what it refers to, and what derives from an abstract one of these, without what the target has."""
    found: dict[str, None] = {}
    ahead = [name]
    while ahead:
        name = ahead.pop()
        if name in found or name.startswith("Edm.") or name in target["types"] or name in target["enums"]:
            continue
        found[name] = None
        kind = source["types"].get(name, {})
        ahead += [parse(word)[0] for word in kind.get("props", {}).values()]
        ahead += [each for each, other in source["types"].items() if kind.get("abstract") and other.get("base") == name]
        ahead += [kind["base"]] if "base" in kind else []
    return list(found)


def add(where: dict[str, Any], name: str, what: Any) -> None:
    if name in where:
        raise SystemExit(f"additions.json: {name} is there already")
    where[name] = json.loads(json.dumps(what))


def check(version: str, schema: Schema) -> None:
    known = {*schema["types"], *schema["enums"]}
    for part, inside in (("types", "props"), ("enums", "members")):
        for name, fact in schema[part].items():
            for means in fact.get("also", {}).values():
                if means not in fact[inside]:
                    raise SystemExit(f"{version}: {name} has no {means} that an alias could mean")
    users: list[tuple[str, list[str]]] = [
        (name, [*kind["props"].values(), *kind.get("nav", {}).values(), kind.get("base", "Edm.String")])
        for name, kind in schema["types"].items()
    ]
    users += [
        (each["name"], [each["bound"], *each.get("params", {}).values(), each.get("returns", "Edm.String")])
        for each in schema["operations"]
    ]
    for name, words in users:
        for word in words:
            target = parse(word)[0]
            if target not in known and not target.startswith("Edm."):
                raise SystemExit(f"{version}: {name} refers to {target}, which is not declared")


def parse(word: str) -> tuple[str, bool]:
    """Type and whether it is a collection, of a property word such as `Collection(Edm.String)!`."""
    name = word.split(" ")[0].removesuffix("!")
    return name.removeprefix("Collection(").removesuffix(")"), name.startswith("Collection(")


# ---------------------------------------------------------------- edm.json


def edm_json(versions: dict[str, Schema], union: "Union") -> str:
    """Compact, one line per type, sorted."""

    def block(things: dict[str, Any]) -> str:
        return ",\n".join(f"{json.dumps(name)}:{compact(things[name])}" for name in sorted(things))

    parts = []
    for version, schema in versions.items():
        types = {}
        for name, kind in schema["types"].items():
            line = {key: kind[key] for key in ("base", "abstract", "open", "also") if key in kind}
            if union.family(name):
                line["family"] = True
            if kind["kind"] == "entity":
                line["entity"] = True
            line["props"] = {prop: kind["props"][prop] for prop in sorted(kind["props"])}
            if kind.get("nav"):
                line["nav"] = {nav: kind["nav"][nav] for nav in sorted(kind["nav"])}
            types[name] = line
        operations = ",\n".join(compact(line) for line in schema["operations"])
        parts.append(
            f'{json.dumps(version)}:{{"types":{{\n{block(types)}\n}},"enums":{{\n{block(schema["enums"])}\n}},"operations":[\n{operations}\n]}}'
        )
    return "{" + ",\n".join(parts) + "}\n"


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# ---------------------------------------------------------------- structs


class Union:
    """The properties of both versions; where they differ in type, beta's."""

    def __init__(self, versions: dict[str, Schema]) -> None:
        self.types: dict[str, dict[str, Any]] = {}
        self.enums: dict[str, dict[str, Any]] = {}
        for schema in versions.values():  # beta is last and wins
            for name, kind in schema["types"].items():
                seen = self.types.setdefault(name, {"props": {}})
                seen.update({**kind, "props": {**seen["props"], **kind["props"]}})
            for name, enum in schema["enums"].items():
                members = self.enums.get(name, {}).get("members", {})
                self.enums[name] = {**enum, "members": {**members, **enum["members"]}}
        self.below: dict[str, list[str]] = {}
        for name, kind in self.types.items():
            if "base" in kind:
                self.below.setdefault(kind["base"], []).append(name)
        self.wanted: set[str] = set()
        for name in self.types:
            if BUILT.fullmatch(name.removeprefix(GRAPH)):
                self.take(name)

    def take(self, name: str) -> None:
        if name in self.wanted or name.startswith("Edm."):
            return
        self.wanted.add(name)
        if name in self.enums:
            return
        kind = self.types[name]
        for word in [*kind["props"].values(), *([kind["base"]] if "base" in kind else [])]:
            self.take(parse(word)[0])
        if name not in FAMILY_ROOTS:
            for lower in self.below.get(name, []):
                self.take(lower)

    def dictionary(self, name: str) -> bool:
        """A type without declared properties (`Json`, open types): its content is kept as it is."""
        kind = self.types[name]
        if kind["props"] or kind["kind"] != "complex":
            return False
        if "base" in kind:
            return self.dictionary(kind["base"])
        return bool(kind.get("open")) or name == f"{GRAPH}Json"

    def family(self, name: str) -> bool:
        """Whether objects of this type carry @odata.type: it derives from something served, or something does from it.

        The kinds of directory object do not, though an agentUser derives from user: a set of users holds users, and
        mixed sets are marked by whoever makes them.
        """
        if name in FAMILY_ROOTS:
            return False
        base = self.types[name].get("base")
        if base is not None and base not in FAMILY_ROOTS:
            return True
        return name in self.below and base != f"{GRAPH}directoryObject"


def space(name: str) -> str:
    return SECURITY if name.startswith(SECURITY) else GRAPH


def python_name(name: str) -> str:
    """Of a namespace that has no module of its own its last word stands in front."""
    return "".join(word[0].upper() + word[1:] for word in name.removeprefix(space(name)).split("."))


class Module:
    """The text of one namespace's module."""

    def __init__(self, union: Union, namespace: str) -> None:
        self.union = union
        self.namespace = namespace
        self.imports: set[str] = set()
        mine = sorted(name for name in union.wanted if space(name) == namespace)
        self.enums = [name for name in mine if name in union.enums and not union.enums[name].get("flags")]
        self.types = [name for name in mine if name in union.types and not union.dictionary(name)]
        names = [python_name(name) for name in [*self.enums, *self.types]]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise SystemExit(f"{namespace}: one Python name for two things: {twice}")

    def text(self) -> str:
        body = "".join(self.alias(name) for name in self.enums)
        classes = "".join(self.struct(name) for name in self.ordered())
        any_used = re.search(r"\bAny\b", classes)
        header = [
            f'"""Structs of {self.namespace.removesuffix(".")}; generated by schema/generate.py, do not edit.',
            "",
            "Properties of v1.0 and beta together; msgspec.to_builtins leaves out unset ones: the inner form.",
            '"""',
            "",
            "# ruff: noqa: RUF012, RUF100",
            "",
            "from __future__ import annotations",
            "",
            f"from typing import {'Any, ' if any_used else ''}Literal, TypeAlias",
            "",
            "from msgspec import Struct",
            "",
        ]
        if self.imports:
            header += [one_line_or_many("from bartizan.model.graph import ", sorted(self.imports), "(", ")"), ""]
        return "\n".join([*header, ""]) + body + classes

    def alias(self, name: str) -> str:
        members = [json.dumps(member, ensure_ascii=False) for member in self.union.enums[name]["members"]]
        return one_line_or_many(f"{python_name(name)}: TypeAlias = Literal", members, "[", "]", always=True) + "\n"

    def ordered(self) -> list[str]:
        """Bases before what derives from them."""
        done: list[str] = []

        def visit(name: str) -> None:
            base = self.union.types[name].get("base")
            if base is not None and space(base) == self.namespace:
                visit(base)
            if name not in done:
                done.append(name)

        for name in self.types:
            visit(name)
        return done

    def struct(self, name: str) -> str:
        kind = self.union.types[name]
        fields, renamed = [], {}
        for prop in sorted(kind["props"]):
            field = prop
            if keyword.iskeyword(prop) or prop in ANNOTATION_WORDS or not prop.isidentifier():
                field = re.sub(r"\W", "_", prop) + "_"
                renamed[field] = prop
            of, many = parse(kind["props"][prop])
            annotation = self.annotation(of)
            fields.append(
                f"    {field}: list[{annotation}] = []" if many else f"    {field}: {annotation} | None = None"
            )
        base = self.reference(kind["base"]) if "base" in kind else "Struct"
        arguments = [base, "kw_only=True", "omit_defaults=True"]
        if self.union.family(name):
            arguments += ['tag_field="@odata.type"', f'tag="#{name}"']
        if renamed:
            arguments.append(f"rename={json.dumps(renamed)}")
        head = one_line_or_many(f"class {python_name(name)}", arguments, "(", ")", end=":")
        return "\n\n" + head + "\n" + ("\n".join(fields) or "    pass") + "\n"

    def annotation(self, name: str) -> str:
        if name.startswith("Edm."):
            return SCALARS.get(name, "str")
        if name in self.union.enums:
            return "str" if self.union.enums[name].get("flags") else self.reference(name)
        return "dict[str, Any]" if self.union.dictionary(name) else self.reference(name)

    def reference(self, name: str) -> str:
        if space(name) != self.namespace:
            if self.namespace == GRAPH:
                raise SystemExit(f"graph.py would have to import {name} from security.py, which imports graph.py")
            self.imports.add(python_name(name))
        return python_name(name)


def one_line_or_many(
    before: str, items: Iterable[str], left: str, right: str, *, end: str = "", always: bool = False
) -> str:
    """As ruff formats it: on one line if it fits, else indented, else one item a line."""
    items = list(items)
    if before.startswith("from "):
        line = before + ", ".join(items)
        if len(line) <= WIDTH:
            return line
        return f"{before}{left}\n" + "".join(f"    {item},\n" for item in items) + right
    line = f"{before}{left}{', '.join(items)}{right}{end}"
    if len(line) <= WIDTH:
        return line
    middle = f"    {', '.join(items)}"
    if len(middle) <= WIDTH and not always:
        return f"{before}{left}\n{middle}\n{right}{end}"
    return f"{before}{left}\n" + "".join(f"    {item},\n" for item in items) + f"{right}{end}"


# ---------------------------------------------------------------- all of it


def generated() -> dict[str, str]:
    """File name in `model/` -> text."""
    versions = merged()
    union = Union(versions)
    return {
        "edm.json": edm_json(versions, union),
        "graph.py": Module(union, GRAPH).text(),
        "security.py": Module(union, SECURITY).text(),
    }


def main() -> None:
    for name, text in generated().items():
        (MODEL / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
