"""Every setting of the program: name (with its unit), default, one sentence.

Later wins: `bartizan.toml` in the data folder, environment variables (`BARTIZAN_PORT=8443`, lists separated by commas,
tables as JSON), the command line. A key that nobody reads is an error, since it is nearly always a typing error.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

FILE = "bartizan.toml"
_PREFIX = "BARTIZAN_"
# What others put into the environment under our prefix: tests, and Kubernetes for a service that is named bartizan.
_NOT_OURS = re.compile(r"BARTIZAN_(TEST_.*|SHARED|SERVICE_.*|PORT_.*)")


class BadSettings(ValueError):
    """A setting that is unknown, or whose value cannot be used; the message says which, from where, and what would
    be right."""


class Secret:
    """A text that never shows itself: not in repr, str, logs or tracebacks. `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(***)" if self._value else "Secret()"

    __str__ = __repr__


class Issuer(Struct, frozen=True, forbid_unknown_fields=True):
    """A foreign issuer whose tokens are accepted. It says who asks; what that one may do is read from our own
    accounts and consents."""

    issuer: Annotated[str, Meta(description="The `iss` claim, letter by letter.")]
    audiences: Annotated[
        tuple[str, ...], Meta(description="Values of `aud` that are meant for this server.", min_length=1)
    ]
    tenants: Annotated[
        dict[str, str],
        Meta(
            description="Value of `tenant_claim` -> id, domain or name of a tenant here; the "
            "key `*` (alone) binds the issuer to one tenant.",
            min_length=1,
        ),
    ]
    tenant_claim: Annotated[str, Meta(description="Claim that is looked up in `tenants`.")] = "tid"
    jwks_file: Annotated[str, Meta(description="File with the issuer's key set; empty: it is fetched.")] = ""
    jwks_url: Annotated[
        str, Meta(description="Address of the key set; empty: taken from the issuer's discovery document.")
    ] = ""
    algorithms: Annotated[tuple[str, ...], Meta(description="Signature algorithms that are accepted.")] = (
        "RS256",
        "PS256",
        "ES256",
    )
    app_claims: Annotated[tuple[str, ...], Meta(description="Claims that may hold the client id, first match.")] = (
        "azp",
        "appid",
        "client_id",
    )
    user_claims: Annotated[
        tuple[str, ...], Meta(description="Claims that may hold the account's user principal name, first match.")
    ] = (
        "preferred_username",
        "upn",
    )
    app_tokens: Annotated[
        dict[str, str],
        Meta(description="Claim -> pattern that marks a token of an app by itself; any other token needs an account."),
    ] = msgspec.field(default_factory=lambda: {"idtyp": "app"})
    permission_claims: Annotated[
        tuple[str, ...], Meta(description="Claims that hold permissions or scopes (text or list).")
    ] = (
        "roles",
        "scp",
        "scope",
    )
    consented: Annotated[
        bool, Meta(description="Every permission that is consented here counts, whatever the permission claims say.")
    ] = False

    def __post_init__(self) -> None:
        if "*" in self.tenants and len(self.tenants) > 1:
            raise ValueError("`tenants` has `*` beside other keys; with `*` an issuer is bound to that one tenant")
        if bad := [a for a in self.algorithms if a not in _ASYMMETRIC]:
            raise ValueError(f"`algorithms` has {', '.join(bad)}; allowed: {', '.join(_ASYMMETRIC)}")


_READABLE = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/([^?#@;%\\\s]|%(?!2[ef]|5c))*", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s/@:*?#\[\]\\]{1,253})(:\d{1,5})?")
_ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")

Count = Annotated[int, Meta(ge=1)]

RATE_AREAS = (
    "any alert securityAction secureScore tiIndicator identityProtection auditLogs directory subscriptions hunting"
)
_RATE = rf"(off|graph|({RATE_AREAS.replace(' ', '|')})=[1-9][0-9]{{0,6}}/[1-9][0-9]{{0,4}})"


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `bartizan serve` and the commands read."""

    # --- where
    data: Annotated[str, Meta(description="Folder of the server's own files: database, keys, certificates.")] = (
        "bartizan-data"
    )
    store: Annotated[
        str, Meta(description="postgresql:// address of the database; empty: SQLite in the data folder.")
    ] = ""
    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on.")] = 8443
    address: Annotated[
        str,
        Meta(description="Public address, such as https://graph.example.org; empty: https://localhost and the port."),
    ] = ""
    hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Further host names that clients use (graph.microsoft.com), allowed in "
            "links and put into the certificate."
        ),
    ] = ()
    processes: Annotated[int, Meta(ge=1, le=64, description="API processes.")] = 1
    makers: Annotated[
        int,
        Meta(ge=0, le=64, description="Processes that read the records of bulks for an API process; they come and go."),
    ] = 1
    forwarded_from: Annotated[
        tuple[str, ...], Meta(description="Addresses of reverse proxies whose X-Forwarded-For and -Proto are believed.")
    ] = ()

    # --- TLS
    tls: Annotated[
        Literal["own", "files", "off"],
        Meta(
            description="own: certificate of the own CA; files: the operator's; off: plain "
            "http behind a proxy that ends TLS."
        ),
    ] = "own"
    tls_certificate_file: Annotated[str, Meta(description="Certificate chain (PEM) for tls = files.")] = ""
    tls_key_file: Annotated[str, Meta(description="Private key (PEM) for tls = files.")] = ""
    tls_leaf_days: Annotated[
        int, Meta(ge=1, le=397, description="Lifetime of a certificate of the own CA in days.")
    ] = 397

    # --- keys
    master_key: Annotated[
        Secret,
        Meta(
            description="64 hex digits that encrypt what is secret at rest; empty: the file "
            "master.key in the data folder."
        ),
    ] = Secret()
    key_rotation_days: Annotated[
        int, Meta(ge=1, description="Age in days at which a token signing key is replaced.")
    ] = 90
    key_lead_s: Annotated[
        int, Meta(ge=0, description="Seconds for which the next signing key is published before it signs.")
    ] = 86_400

    # --- tokens
    access_token_s: Annotated[int, Meta(ge=60, le=86_400, description="Lifetime of an access token in seconds.")] = 3600
    refresh_token_s: Annotated[int, Meta(ge=60, description="Seconds after which an unused refresh token ends.")] = (
        90 * 86_400
    )
    refresh_grace_s: Annotated[
        int,
        Meta(
            ge=0,
            le=60,
            description="Seconds in which the last refresh token but one is taken again (a lost answer) without alarm.",
        ),
    ] = 0
    code_s: Annotated[int, Meta(ge=10, le=600, description="Lifetime of an authorization code in seconds.")] = 300
    device_code_s: Annotated[int, Meta(ge=60, le=3600, description="Lifetime of a device code in seconds.")] = 900
    device_interval_s: Annotated[
        int, Meta(ge=1, le=60, description="Seconds that a device waits between two questions.")
    ] = 5
    session_s: Annotated[int, Meta(ge=60, description="Lifetime of a sign-in in the browser in seconds.")] = 12 * 3600
    clock_skew_s: Annotated[int, Meta(ge=0, le=600, description="Seconds that clocks of others may be off.")] = 60
    assertion_reuse: Annotated[
        Literal["same-address", "never"],
        Meta(description="Whether a client assertion may come again from its address (MSAL does that for minutes)."),
    ] = "same-address"
    password_grant: Annotated[
        bool, Meta(description="Whether applications may sign users in by their passwords (grant_type=password).")
    ] = False
    audiences: Annotated[
        tuple[str, ...], Meta(description="Resources for which tokens are issued and taken, beside the own addresses.")
    ] = ("https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000")
    issuers: Annotated[tuple[Issuer, ...], Meta(description="Foreign issuers whose tokens are accepted.")] = ()
    token_cache_rows: Annotated[int, Meta(ge=0, description="Verified tokens that a process remembers.")] = 10_000
    revocation_check_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=60_000,
            description="Milliseconds for which a process trusts that no right was withdrawn by another.",
        ),
    ] = 100

    # --- sign-in
    password_min_chars: Annotated[int, Meta(ge=1, le=128, description="Shortest password that is accepted.")] = 8
    login_attempts: Annotated[
        Count, Meta(description="Wrong passwords or secrets for one account from one address before it is locked.")
    ] = 10
    login_attempts_account: Annotated[Count, Meta(description="The same for one account from all addresses.")] = 100
    login_attempts_address: Annotated[
        Count, Meta(description="The same for one address (IPv6: /64) and all accounts.")
    ] = 100
    login_window_s: Annotated[Count, Meta(description="Seconds in which such attempts are counted together.")] = 600
    login_lock_s: Annotated[
        Count, Meta(description="Seconds of the first lock; each further one lasts twice as long, up to an hour.")
    ] = 60

    # --- notifications
    allow_private_notifications: Annotated[
        bool, Meta(description="Notifications may go to loopback and private addresses, and by http; for labs, tests.")
    ] = False
    notification_networks: Annotated[
        tuple[str, ...], Meta(description="Private networks (CIDR) that notifications may reach by https.")
    ] = ()
    notification_ca_file: Annotated[
        str, Meta(description="PEM of further authorities that endpoints of notifications may be certified by.")
    ] = ""
    notification_retry_s: Annotated[
        int, Meta(ge=60, description="Seconds for which a notification is tried before it becomes a dead letter.")
    ] = 4 * 3600
    subscriptions_per_app: Annotated[Count, Meta(description="Subscriptions of one application in one tenant.")] = 100
    subscriptions_per_tenant: Annotated[Count, Meta(description="Subscriptions of one tenant.")] = 1000

    # --- actions against threats
    approve_actions: Annotated[
        tuple[str, ...],
        Meta(
            description="Actions that a second person has to approve, such as disableUser,isolateDevice; * means all, "
            "and TENANT_ID/disableUser that of one tenant."
        ),
    ] = ()
    action_approval_s: Annotated[
        int,
        Meta(ge=60, le=14 * 86_400, description="Seconds within which an action has to be approved, or it has failed."),
    ] = 86_400
    action_limit_s: Annotated[
        int,
        Meta(
            ge=10,
            le=7 * 86_400,
            description="Seconds within which an action has to end once it may begin; a system that is away is asked "
            "again until then.",
        ),
    ] = 4 * 3600
    action_wait_s: Annotated[
        int,
        Meta(
            ge=1,
            le=90,
            description="Seconds for which a PATCH of a user or revokeSignInSessions waits for what comes of it.",
        ),
    ] = 20
    # --- connections
    connections_over_api: Annotated[
        bool,
        Meta(
            description="Administrators of tenants may make connections over the API, and so have the server ask any "
            "address that it can reach; otherwise `bartizan connection` alone makes them."
        ),
    ] = False
    federation_s: Annotated[
        int, Meta(ge=1, le=60, description="Seconds that a federated read waits for each system.")
    ] = 10
    # --- identity
    on_premises_password_ends_risk: Annotated[
        bool,
        Meta(description="A password that is changed in a synchronised on-premises directory ends its user's risk."),
    ] = False
    identity_shards: Annotated[
        int, Meta(ge=1, le=16, description="Processes that share the principals whose risk is evaluated.")
    ] = 1
    learn_from_verdicts: Annotated[
        bool,
        Meta(
            description="What people of a tenant confirm as safe or compromised corrects its scores, within bounds, "
            "once there are 20 such verdicts."
        ),
    ] = True

    # --- posture
    posture_limits: Annotated[
        tuple[str, ...],
        Meta(description="Limits of controls that differ from the declared, such as `BartizanStaleUsers.days=60`."),
    ] = ()
    # --- write-back
    write_back_limit_s: Annotated[
        int,
        Meta(
            ge=60,
            description="Seconds for which a change is written back to a system that is away or denies; then it has "
            "failed.",
        ),
    ] = 7 * 86_400

    # --- requests
    rate_limits: Annotated[
        str,
        Meta(
            pattern=f"^{_RATE}(,{_RATE})*$",
            description=(
                "Limits of requests: off; graph, those that Microsoft Graph documents; area=requests/seconds, "
                "one's own. Several with commas, later ones win: graph,alert=600/60. The API processes of a group "
                "hold them together."
            ),
        ),
    ] = "off"
    crowd_percent: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="Part of an API process's time, in percent, for tenants that ask much while others ask little.",
        ),
    ] = 10
    body_bytes: Annotated[Count, Meta(description="Largest JSON body of a request in bytes, decompressed.")] = 4 << 20
    answer_s: Annotated[Count, Meta(description="Seconds after which an unanswered request ends in 504.")] = 100
    query_s: Annotated[Count, Meta(description="Seconds that one read of the store may take.")] = 10
    access_log: Annotated[bool, Meta(description="Write a line for each request.")] = True

    # --- hunting
    hunts: Annotated[int, Meta(ge=1, le=256, description="Hunts that run at once in an API process.")] = 4
    hunts_per_tenant: Annotated[int, Meta(ge=1, le=256, description="Hunts of one tenant that run at once.")] = 2
    hunt_s: Annotated[int, Meta(ge=1, le=600, description="Seconds for a hunt; `answer_s` bounds it too.")] = 90
    hunt_rows: Annotated[int, Meta(ge=1, le=10_000_000, description="Rows of the result of a hunt.")] = 100_000
    hunt_mb: Annotated[int, Meta(ge=1, le=1_024, description="Size of the result of a hunt, in MB of JSON.")] = 50
    hunt_memory_mb: Annotated[int, Meta(ge=64, le=1_048_576, description="MB of the engine of a hunt.")] = 1_024
    hunt_threads: Annotated[int, Meta(ge=1, le=64, description="Threads of a hunt.")] = 2

    externaldata_allowed: Annotated[tuple[str, ...], Meta(description="Prefixes that `externaldata` may read.")] = ()
    externaldata_mb: Annotated[int, Meta(ge=1, le=100, description="MB of a file that `externaldata` reads.")] = 20
    allow_private_externaldata: Annotated[bool, Meta(description="Those may be private addresses; for labs.")] = False

    # --- the lake of events
    lake_folder: Annotated[
        str,
        Meta(
            description="Folder of the Parquet files of events; empty: lake in the data folder. Servers that share a "
            "database share this folder too."
        ),
    ] = ""
    lake_days: Annotated[int, Meta(ge=0, description="Days for which events are kept in the lake; 0: for ever.")] = 180
    lake_table_days: Annotated[
        tuple[str, ...],
        Meta(
            description="Tables that are kept for another time than `lake_days`, such as DeviceEvents=30; 0: for ever, "
            "as tables of states need."
        ),
    ] = ("IdentityInfo=0", "AADRiskyUsers=0", "ThreatIntelligenceIndicator=0")
    lake_threads: Annotated[int, Meta(ge=1, le=64, description="Threads with which events become files.")] = 2
    lake_memory_mb: Annotated[
        int, Meta(ge=256, description="Memory in MB for making files; half each for flush and compaction.")
    ] = 1024

    # --- ingestion
    ingest_body_bytes: Annotated[Count, Meta(description="Largest body of POST /ingest in bytes, decompressed.")] = (
        64 << 20
    )
    ingest_in_flight_bytes: Annotated[
        Count, Meta(description="Bytes of records that a process holds at once; beyond, 503.")
    ] = 256 << 20
    listeners: Annotated[
        tuple[str, ...],
        Meta(
            description="Syslog addresses to listen on, such as tcp://0.0.0.0:5514?tenant=acme&source=auto "
            "(udp, tcp or tls; from=10.0.0.0/8 says who may send)."
        ),
    ] = ()
    ingest_tenant_bytes: Annotated[Count, Meta(description="One tenant's share of that; beyond, 429.")] = 128 << 20

    def __post_init__(self) -> None:
        if bad := [each for each in self.lake_table_days if not re.fullmatch(r"[A-Za-z_]\w{0,127}=\d{1,5}", each)]:
            raise ValueError(f"`lake_table_days` has {bad[0][:200]!r}; expected such as DeviceEvents=30")
        if self.tls == "files" and not (self.tls_certificate_file and self.tls_key_file):
            raise ValueError("tls = files needs tls_certificate_file and tls_key_file")
        if bad := [each for each in self.externaldata_allowed if not _READABLE.fullmatch(each) or "/.." in each]:
            raise ValueError(f"`externaldata_allowed` has {bad[0][:200]!r}; expected such as https://lists.example/")
        if self.address:
            parts = urlsplit(self.address)
            if parts.scheme not in ("https", "http") or not parts.hostname or parts.path.strip("/") or parts.query:
                raise ValueError(f"address is {self.address!r}; expected such as https://graph.example.org:8443")
        if self.store and not self.store.startswith(("postgresql://", "postgres://")):
            raise ValueError("store is no PostgreSQL address; expected such as postgresql://user@host/database")
        if bad := [h for h in self.hosts if not _HOST.fullmatch(h)]:
            raise ValueError(
                f"hosts has {bad[0]!r}; expected names such as graph.microsoft.com, with a port if need be"
            )
        if self.master_key and not re.fullmatch(r"[0-9a-fA-F]{64}", self.master_key.reveal()):
            raise ValueError("master_key is not 64 hex digits (32 bytes); make one with: openssl rand -hex 32")

    def __repr__(self) -> str:
        """Without the password that `store` may hold."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["store"] = re.sub(r"(//[^:/@]*):[^@]*@|(password)=[^&\s]*", r"\1\2:***@", self.store)
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def lake_path(self) -> Path:
        return Path(self.lake_folder) if self.lake_folder else self.folder / "lake"

    @property
    def table_days(self) -> dict[str, int]:
        """Of `lake_table_days`, by table."""
        return {name: int(days) for name, _, days in (each.partition("=") for each in self.lake_table_days)}

    @property
    def folder(self) -> Path:
        return Path(self.data)

    @property
    def root(self) -> str:
        """The configured public address, without a slash at the end."""
        if self.address:
            return self.address.rstrip("/")
        return f"https://localhost:{self.port}" if self.port != 443 else "https://localhost"

    @property
    def names(self) -> tuple[str, ...]:
        """Host names and addresses (no port, no brackets) under which the server may be spoken to."""
        own = [urlsplit(self.root).hostname or "localhost", "localhost", "127.0.0.1", "::1"]
        if self.host not in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
            own.append(self.host)
        return tuple(dict.fromkeys(n.lower() for n in (*own, *(_host_name(h) for h in self.hosts))))

    @property
    def netlocs(self) -> frozenset[str]:
        """Every Host header that is believed: a listed name bare, with the own port, or with the port that it was
        listed with."""
        ports = {"", f":{self.port}"}
        names = [f"[{n}]" if ":" in n else n for n in self.names]
        listed = {h.lower() for h in self.hosts}
        return frozenset({f"{n}{p}" for n in names for p in ports} | listed | {urlsplit(self.root).netloc.lower()})

    def base(self, host: str | None) -> str:
        """Scheme and host for links, issuer and discovery: the request's Host if it is allowed, else the configured
        address."""
        host = (host or "").lower()
        if host not in _netlocs(self):
            return self.root
        return f"{urlsplit(self.root).scheme}://{host.removesuffix(':443')}"

    @property
    def bases(self) -> frozenset[str]:
        """Every value that `base` can give."""
        return frozenset({self.root, *(self.base(n) for n in self.netlocs)})


_NETLOCS: dict[int, tuple[Settings, frozenset[str]]] = {}


def _netlocs(settings: Settings) -> frozenset[str]:
    """Computed once for each settings object; asked for on every request."""
    known = _NETLOCS.get(id(settings))
    if known is None or known[0] is not settings:
        if len(_NETLOCS) > 64:  # tests make many
            _NETLOCS.clear()
        known = _NETLOCS[id(settings)] = (settings, settings.netlocs)
    return known[1]


def _host_name(netloc: str) -> str:
    return urlsplit(f"//{netloc}").hostname or netloc


def describe() -> list[dict[str, Any]]:
    """Name, type, default and sentence of every setting, for the reference page and `--help`."""
    hints = msgspec.inspect.type_info(Settings)
    assert isinstance(hints, msgspec.inspect.StructType)
    rows = []
    for field in hints.fields:
        meta = field.type
        extra = meta.extra_json_schema if isinstance(meta, msgspec.inspect.Metadata) else None
        default = getattr(Settings(), field.name)
        rows.append(
            {
                "name": field.name,
                "environment": _PREFIX + field.name.upper(),
                "default": "" if isinstance(default, Secret) else default,
                "description": (extra or {}).get("description", ""),
            }
        )
    return rows


def load(data: str | None = None, *, environ: Mapping[str, str] | None = None, **options: Any) -> Settings:
    """The settings in force. `options` come from the command line; those that are None were not given there."""
    environ = os.environ if environ is None else environ
    folder = data or environ.get(_PREFIX + "DATA") or Settings().data
    values: dict[str, Any] = {}
    source: dict[str, str] = {}
    for origin, part in (
        (str(Path(folder) / FILE), _from_file(Path(folder) / FILE)),
        ("the environment", _from_environ(environ)),
        ("the command line", {k: v for k, v in options.items() if v is not None}),
    ):
        values |= part
        source |= dict.fromkeys(part, origin)
    values["data"] = folder
    _refuse_unknown(values, source)
    try:
        return msgspec.convert(values, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        name = match[1] if (match := re.search(r"\$\.(\w+)", str(error))) else ""
        where = f" (from {source[name]})" if name in source else ""
        raise BadSettings(f"setting {name}{where}: {error}" if name else f"setting {error}") from None


def _decode(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError(f"no setting has the type {kind}")


def _refuse_unknown(values: Mapping[str, Any], source: Mapping[str, str]) -> None:
    known = Settings.__struct_fields__
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
            raise BadSettings(f"unknown setting {name} in {source[name]}{hint}")


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{path}: {error}") from None
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror}") from None
    if "data" in values:
        raise BadSettings(f"{path}: data cannot be set here, since this file is found through it")
    return values


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, text in environ.items():
        if not key.startswith(_PREFIX) or _NOT_OURS.fullmatch(key):
            continue
        name = key.removeprefix(_PREFIX).lower()
        default = getattr(Settings(), name, None)
        if name == "issuers":
            try:
                values[name] = json.loads(text)
            except ValueError as error:
                raise BadSettings(f"{key} is not JSON: {error}") from None
        elif isinstance(default, tuple):
            values[name] = [part.strip() for part in text.split(",") if part.strip()]
        elif isinstance(default, bool):
            values[name] = _truth(key, text)
        else:
            values[name] = text
    return values


def _truth(key: str, text: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off", ""):
        return False
    raise BadSettings(f"{key} is {text!r}; expected true or false")
