"""Which names are one person or one host: UPN, mail, SID, object id, DOMAIN\\name; device ids, FQDN and short name.

Learned from what evidence and directory objects name together, each as of its own time: a name that was given to
somebody else means the one who had it then. A bare name means somebody only where it can mean one alone. Who has
accounts with several providers has an id with each.

Source: MS-ADTS 3.1.1.5.1 (names of accounts), MS-DTYP 2.4.2 (SID), RFC 1123 (hosts), AWS "View AWS account
identifiers" and "IAM identifiers".
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

Token = str  # kind:value in lower case; kinds below

FIXED = ("oid", "sid", "mde")  # are never given to another; `oid` is a directory's id
OTHERS = "uid"  # and a product's name after a dot: the id that an account has with that; it is not given to another too
NAMES = ("addr", "sam", "iam", "fqdn")  # may be, in time; `addr` is a UPN or a mail address, `iam` a user of AWS
BARE = "name"  # an account or host name without its domain
READABLE = ("addr", "fqdn", "sam", "iam", BARE, *FIXED, OTHERS)  # what people call it, first
AWS_USER = "aida"  # what AWS's ids of users begin with, whoever tells them
_IDS = (*FIXED, OTHERS)
SIGN_INS = "sign-ins"  # as a product: of whichever provider
MANY = frozenset({"iam", f"{OTHERS}.aws", f"{OTHERS}.{SIGN_INS}"})  # one has several of such names
_OF_A_PRODUCT = f"{OTHERS}."
_BARE_KIND = f"{BARE}:"
_READABLE = {kind: place for place, kind in enumerate(READABLE)}
AWS_ACCOUNT_DIGITS = 12
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_TOKENS = 200_000
MAX_OWNERS = 4  # of one name over time
MAX_BEARERS = 3  # of one bare name; with more than one it is ambiguous
MAX_FORMER = 4

# Accounts that every system has: they name nobody.
NOBODY = frozenset(
    "root administrator system admin guest nobody localsystem localservice networkservice www-data daemon sshd service "
    "local_service network_service anonymous".split()
) | {"local service", "network service", "anonymous logon", "nt authority", "window manager"}


class Aliases:
    """Of one kind of thing (people, or hosts) in one tenant. What `resolve` gives is stable: the first strong name."""

    def __init__(self) -> None:
        self._owners: dict[Token, list[tuple[float, str]]] = {}  # since when, whose; oldest first
        self._bearers: dict[str, list[str]] = {}  # bare name -> who may be meant
        self._into: dict[str, str] = {}  # two that turned out to be one
        self._former: dict[str, list[str]] = {}
        self._kinds: dict[str, list[str]] = {}  # of the strong names that one is known by
        self._shown: dict[str, Token] = {}

    def learn(self, tokens: Sequence[Token], at: float) -> str | None:
        """These name one thing, says a record of this time. None where nothing but a bare name is known."""
        tokens = [self._known_id(each) if each.startswith(_OF_A_PRODUCT) else each for each in tokens]
        strong = [each for each in tokens if not each.startswith(_BARE_KIND)]
        if not strong:
            return None
        whole = self._known(strong, at) or self._joined(strong, at)
        for each in tokens:
            self._bear(each, whole)
        best = min((*tokens, *filter(None, [self._shown.get(whole)])), key=readable)
        if len(self._shown) >= MAX_TOKENS and whole not in self._shown:
            del self._shown[next(iter(self._shown))]
        self._shown[whole] = best
        return whole

    def _known(self, strong: Sequence[Token], at: float) -> str | None:
        """Whose names all of these are, where nothing is to be learned of that: most have been heard before."""
        whole: str | None = None
        for each in strong:
            owners = self._owners.get(each)
            if owners is None or len(owners) > 1 or at < owners[0][0]:
                return None
            owner = self._root(owners[0][1])
            if whole is None:
                whole = owner
            elif owner != whole:
                return None
            if each.partition(":")[0] not in self._kinds.get(owner, ()):
                return None
        return whole

    def _joined(self, strong: Sequence[Token], at: float) -> str:
        """Whose names all of these are from now on."""
        kinds = {each.partition(":")[0] for each in strong}
        fixed = [owner for each in strong if _fixed(each) and (owner := self._owner(each, at)) is not None]
        # whoever has such a name by another id of the same kind had it before, or will
        named = [
            owner
            for each in strong
            if not _fixed(each) and (owner := self._owner(each, at)) is not None and not self._clash(owner, kinds)
        ]
        found = [*fixed, *(each for each in named if not fixed or not self._is_fixed(each))]
        whole = found[0] if found else self._likely(strong, kinds) or min(strong, key=_strength)
        for other in found[1:]:
            self._unite(whole, other)
        whole = self._root(whole)
        for each in strong:
            self._own(each, at, whole)
            known = self._kinds.setdefault(whole, [])
            if (kind := each.partition(":")[0]) not in known:
                known.append(kind)
        return whole

    def _known_id(self, token: Token) -> Token:
        """What the directory has told as its id is the directory's, whoever names it."""
        kind, _, value = token.partition(":")
        own = f"oid:{value}"
        return own if kind.startswith(f"{OTHERS}.") and own in self._owners else token

    def shown(self, one: str) -> str:
        """The name that people use."""
        kind, _, name = one.partition(":")
        bearers = self._bearers.get(name, ()) if kind == BARE else ()
        whole = self._root(bearers[0] if len(bearers) == 1 else one)
        return self._shown.get(whole, whole).partition(":")[2]

    def resolve(self, tokens: Sequence[Token], at: float) -> list[str]:
        """The thing, then the names that it went by before they were known to be one; empty where it is unclear."""
        whole = self.learn(tokens, at)
        if whole is None:
            bare = next((each.partition(":")[2] for each in tokens), "")
            bearers = list(dict.fromkeys(self._root(each) for each in self._bearers.get(bare, ())))
            if len(bearers) > 1 or not bare:
                return []
            if not bearers:
                return [f"{BARE}:{bare}"]
            whole = bearers[0]
        alone = [f"{BARE}:{name}" for each in tokens if (name := _bare(each)) and len(self._bearers.get(name, ())) == 1]
        return list(dict.fromkeys([whole, *self._former.get(whole, ()), *alone]))

    def joined(self, tokens: Sequence[Token], at: float) -> bool:
        """Whether all of them are known to be of one thing, so that hearing it again tells nothing."""
        owners = {self._owner(each, at) for each in tokens}
        return len(owners) == 1 and None not in owners

    def groups(self) -> dict[str, list[Token]]:
        """By thing, the names that it has and that never were another's; bare ones where they mean it alone."""
        found: dict[str, list[Token]] = {}
        for token, owners in self._owners.items():
            roots = {self._root(owner) for _, owner in owners}
            if len(roots) == 1:
                found.setdefault(roots.pop(), []).append(token)
        for name, bearers in self._bearers.items():
            roots = {self._root(each) for each in bearers}
            if len(roots) == 1 and (root := roots.pop()) in found:
                found[root].append(f"{BARE}:{name}")
        return found

    def _clash(self, owner: str, kinds: set[str]) -> bool:
        """Nobody has two ids with one provider."""
        return any(kind in kinds for kind in self._kinds.get(owner, ()) if _sort(kind) in _IDS and kind not in MANY)

    def _likely(self, strong: Sequence[Token], kinds: set[str]) -> str | None:
        """CORP\\alice is alice@example.org where she is the only alice and has no other account name, and alice of any
        AWS account is she too."""
        bearers = {self._root(each) for name in map(_bare, strong) for each in self._bearers.get(name, ())}
        if len(bearers) != 1 or (kinds - MANY) & set(self._kinds.get(only := next(iter(bearers)), ())):
            return None
        return only

    def _owner(self, token: Token, at: float) -> str | None:
        """As of this time; before the first that is known, the first."""
        owners = self._owners.get(token)
        if not owners:
            return None
        if len(owners) == 1:
            return self._root(owners[0][1])
        past = [owner for since, owner in owners if since <= at]
        return self._root(past[-1] if past else owners[0][1])

    def _own(self, token: Token, at: float, owner: str) -> None:
        if self._owner(token, at) == owner:
            owners = self._owners[token]
            if at < owners[0][0]:
                owners[0] = (at, owners[0][1])
            return
        owners = self._owners.pop(token, [])
        owners.append((at, owner))
        owners.sort()
        if len(self._owners) >= MAX_TOKENS:
            del self._owners[next(iter(self._owners))]
        if len(self._kinds) > MAX_TOKENS:
            del self._kinds[next(iter(self._kinds))]
        self._owners[token] = owners[-MAX_OWNERS:]

    def _bear(self, token: Token, owner: str) -> None:
        name = _bare(token)
        if not name:
            return
        bearers = self._bearers.pop(name, [])
        if bearers != [owner]:
            bearers = list(dict.fromkeys(self._root(each) for each in bearers))
        if owner not in bearers and len(bearers) < MAX_BEARERS:
            bearers.append(owner)
        if len(self._bearers) >= MAX_TOKENS:
            del self._bearers[next(iter(self._bearers))]
        self._bearers[name] = bearers

    def _unite(self, whole: str, other: str) -> None:
        whole, other = self._root(whole), self._root(other)
        if whole == other:
            return
        self._into[other] = whole
        former = [*self._former.get(whole, ()), other, *self._former.pop(other, ())]
        self._former[whole] = former[-MAX_FORMER:]
        self._kinds[whole] = list(dict.fromkeys([*self._kinds.get(whole, ()), *self._kinds.pop(other, ())]))
        if len(self._into) > MAX_TOKENS:
            del self._into[next(iter(self._into))]

    def _root(self, one: str) -> str:
        for _ in range(MAX_FORMER * 4):
            if one not in self._into:
                break
            one = self._into[one]
        return one

    def _is_fixed(self, owner: str) -> bool:
        return _fixed(owner) or any(map(_fixed, self._former.get(owner, ())))

    def dump(self) -> list[Any]:
        return [self._owners, self._bearers, self._into, self._former, self._kinds, self._shown]

    def load(self, kept: Sequence[Any]) -> None:
        owners, self._bearers, self._into, self._former, self._kinds, self._shown = kept
        self._owners = {token: [(since, owner) for since, owner in its] for token, its in owners.items()}


def _sort(token: Token) -> str:
    """Its kind, whichever the provider."""
    return token.partition(":")[0].partition(".")[0]


def _fixed(token: Token) -> bool:
    return _sort(token) in _IDS


def _strength(token: Token) -> int:
    return (*_IDS, *NAMES).index(_sort(token))


def readable(token: Token) -> int:
    """Least is what people call it."""
    return _READABLE[_sort(token)]


def _bare(token: str) -> str:
    """alice of alice@example.org, CORP\\alice and alice; web01 of web01.example.org."""
    kind, _, value = token.partition(":")
    match kind:
        case "addr":
            return value.partition("@")[0]
        case "sam" | "iam":
            return value.rpartition("\\")[2]
        case "fqdn":
            return value.partition(".")[0]
        case "name":
            return value
    return ""


def person(
    *,
    object_id: str | None = None,
    sid: str | None = None,
    addresses: Iterable[str | None] = (),
    account: str | None = None,
    domain: str | None = None,
    product: str | None = None,
) -> list[Token]:
    """Tokens of an account; none where it is one that every system has. An account name may come with its domain in
    any of its forms. An id that a `product` tells is Entra's where it is a GUID, else one of the product's own.
    """
    name, domain = (account or "").strip().lower(), (domain or "").strip().lower()
    if "\\" in name:
        domain, _, name = name.rpartition("\\")
    domain = domain.partition(".")[0]  # CORP and corp.example.org
    found = [_id(object_id.strip().lower(), product)] if object_id else []
    if name in NOBODY or name.endswith("$"):
        name = ""
    if sid and _of_a_person(sid.lower()):
        found.append(f"sid:{sid.lower()}")
    mails = [each.strip().lower() for each in addresses if each and "@" in each]
    if "@" in name:
        mails.append(name)
        name = ""
    found += [f"addr:{each}" for each in mails if each.partition("@")[0] not in NOBODY]
    if name:
        found.append(f"{_realm(domain)}:{domain}\\{name}" if domain and domain not in NOBODY else f"{BARE}:{name}")
    return list(dict.fromkeys(found))


def _id(value: str, product: str | None) -> Token:
    if value.startswith(AWS_USER):
        return f"{OTHERS}.aws:{value}"
    if not product or _GUID.fullmatch(value):
        return f"oid:{value}"
    return f"{OTHERS}.{product.lower().replace(':', ' ')}:{value}"


def _realm(domain: str) -> str:
    """What kind of name an account of this domain is. One has an account name in a directory and users in clouds."""
    return "iam" if len(domain) == AWS_ACCOUNT_DIGITS and domain.isdecimal() else "sam"


def _of_a_person(sid: str) -> bool:
    """Accounts of a domain, of one machine or of Entra; not the well-known ones such as S-1-5-18."""
    return sid.startswith(("s-1-5-21-", "s-1-12-1-")) and sid.count("-") >= 7


def device(
    *, ids: Iterable[str | None] = (), names: Iterable[str | None] = (), domain: str | None = None
) -> list[Token]:
    found = [f"mde:{each.lower()}" for each in ids if each]
    for each in names:
        name = (each or "").strip().rstrip(".").lower()
        if not name or name == "localhost":
            continue
        if "." not in name and domain and "." in domain:
            name = f"{name}.{domain.lower()}"
        found.append(f"fqdn:{name}" if "." in name else f"{BARE}:{name}")
    return list(dict.fromkeys(found))
