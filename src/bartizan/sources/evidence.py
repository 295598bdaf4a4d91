"""What one record names, as Graph evidence and as entries of the entity index: one object per distinct entity.

Every method takes what a vendor wrote and ignores what names nothing, so that a source hands over its fields as they
are. Objects stand in the order of first mention.
Values that are no such entity (an address that is none) give None.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from bartizan.model import security as graph
from bartizan.model.alert import Observed
from bartizan.model.entities import MAX_ENTITIES, MAX_VALUE_CHARS, url_host
from bartizan.sources import entities as names
from bartizan.sources.countries import country_code

MAX_EVIDENCE = 200  # objects of one record

Roles = Sequence[graph.EvidenceRole]
_E = TypeVar("_E", bound=graph.AlertEvidence)

_HIVES = {
    "hklm": "HKEY_LOCAL_MACHINE",
    "hkcu": "HKEY_CURRENT_USER",
    "hkcr": "HKEY_CLASSES_ROOT",
    "hku": "HKEY_USERS",
    "hkcc": "HKEY_CURRENT_CONFIG",
    "machine": "HKEY_LOCAL_MACHINE",
    "user": "HKEY_USERS",
}


class Place(Struct, frozen=True):
    """Where an address is, as the record says."""

    country: str | None = None
    city: str | None = None
    state: str | None = None
    latitude: float | None = None
    longitude: float | None = None


class Evidence:
    """Collects. `items` go to `Alert.evidence`, `observed` to `Event.entities`."""

    def __init__(
        self,
        at: str | None = None,
        verdict: graph.EvidenceVerdict = "unknown",
        remediation: graph.EvidenceRemediationStatus = "none",
    ) -> None:
        self._given: dict[str, Any] = {"createdDateTime": at, "verdict": verdict, "remediationStatus": remediation}
        self._items: list[graph.AlertEvidence] = []
        self._by_key: dict[tuple[str, ...], graph.AlertEvidence] = {}
        self._observed: dict[Observed, None] = {}
        self.omitted = 0  # objects beyond MAX_EVIDENCE

    @property
    def items(self) -> list[graph.AlertEvidence]:
        return list(self._items)

    @property
    def observed(self) -> tuple[Observed, ...]:
        return tuple(self._observed)

    @property
    def unsaid(self) -> dict[str, Any]:
        """For additionalData: how many objects were beyond the bound."""
        return {"evidenceOmitted": self.omitted} if self.omitted else {}

    def observe(self, kind: str, value: str | None, role: str = "") -> None:
        """An entry of the index alone."""
        if value and len(value) <= MAX_VALUE_CHARS and len(self._observed) < MAX_ENTITIES:
            self._observed.setdefault(Observed(kind, value, role))

    def add(self, item: _E, *keys: tuple[str, ...]) -> _E:
        """The object of one of the keys with what is new filled in, or the item itself, kept under all keys."""
        for key in keys:
            old = self._by_key.get(key)
            if type(old) is type(item):
                _fill(old, item)
                self._by_key.update({key: old for key in keys if key not in self._by_key})
                return old
        if len(self._items) >= MAX_EVIDENCE:
            self.omitted += 1
            return item
        self._items.append(item)
        self._by_key.update({key: item for key in keys if key not in self._by_key})
        return item

    # ------------------------------------------------------------ who and where

    def host(
        self,
        name: str | None = None,
        *,
        domain: str | None = None,
        addresses: Iterable[str | None] = (),
        external: str | None = None,
        os: str | None = None,
        version: str | None = None,
        device_id: str | None = None,
        directory_id: str | None = None,
        roles: Roles = (),
    ) -> graph.DeviceEvidence | None:
        """A device. A name with dots fills both hostName (its first label) and deviceDnsName."""
        name = None if (name or "").lower() in ("unknown", "localhost") else name
        if names.address(name) is not None:
            addresses, name = [name, *addresses], None
        own, outside = names.addresses(addresses), names.address(external)
        if not (name or device_id or directory_id):
            return None
        dns = name if names.domain(name) is not None else None
        label = dns.partition(".")[0] if dns else name
        item = graph.DeviceEvidence(
            **self._given,
            roles=list(roles),
            hostName=label,
            deviceDnsName=dns,
            dnsDomain=dns.partition(".")[2] if dns else None,
            ntDomain=domain,
            ipInterfaces=own,
            lastIpAddress=own[0] if own else None,
            lastExternalIpAddress=outside,
            osPlatform=os,
            version=version,
            mdeDeviceId=device_id,
            azureAdDeviceId=directory_id,
        )
        self.observe("host", name)
        for text in (*own, outside):
            self.observe("address", text)
        keys = [("host id", device_id)] if device_id else []
        if label and name:
            short = label.lower()
            keys += [("host", name.lower()), ("bare", short)] if dns else [("bare", short), ("short", short)]
        found = self.add(item, *keys)
        if dns and label:
            self._by_key.setdefault(("short", label.lower()), found)
        return found

    def user(
        self,
        name: str | None = None,
        *,
        domain: str | None = None,
        upn: str | None = None,
        sid: str | None = None,
        object_id: str | None = None,
        display: str | None = None,
        roles: Roles = (),
    ) -> graph.UserEvidence | None:
        """An account. `name` may be "DOMAIN\\name", a UPN or a SID."""
        read, mail = names.account(name), names.account(upn)
        name, domain = read.name or mail.name, domain or read.domain or mail.domain
        upn, sid = mail.upn or read.upn, sid or read.sid or mail.sid
        object_id = None if (object_id or "").lower() == "unknown" else object_id
        if not (name or upn or sid or object_id):
            return None
        account = graph.UserAccount(
            accountName=name,
            domainName=domain,
            userPrincipalName=upn,
            userSid=sid,
            azureAdUserId=object_id,
            displayName=display,
        )
        item = graph.UserEvidence(**self._given, roles=list(roles), userAccount=account)
        role = roles[0] if roles else ""
        self.observe("user", f"{read.domain}\\{read.name}" if read.domain and not read.upn else None, role)
        for value in (upn, None if upn == f"{name}@{domain}" else name, sid, object_id):
            self.observe("user", value, role)
        return self.add(item, *_user_keys(account))

    def ip(
        self, text: str | None, roles: Roles = (), place: Place | None = None, *, alone: bool = True
    ) -> graph.IpEvidence | None:
        """An address. With `alone` false the object is only made, for use inside another one."""
        value = names.address(text)
        if value is None:
            return None
        where = place if place is not None and place != Place() else None
        code = country_code(where.country) if where else None
        item = graph.IpEvidence(
            **self._given,
            roles=list(roles),
            ipAddress=value,
            countryLetterCode=code,
            location=graph.GeoLocation(
                city=where.city,
                countryName=where.country,
                state=where.state,
                latitude=where.latitude,
                longitude=where.longitude,
            )
            if where
            else None,
        )
        self.observe("address", value, roles[0] if roles else "")
        return self.add(item, ("ip", value)) if alone else item

    def flow(
        self,
        source: str | None,
        source_port: int | None,
        destination: str | None,
        destination_port: int | None,
        protocol: str | None = None,
        *,
        roles: tuple[graph.EvidenceRole, graph.EvidenceRole] = ("source", "destination"),
        places: tuple[Place | None, Place | None] = (None, None),
    ) -> graph.NetworkConnectionEvidence | None:
        """A connection and its two addresses."""
        start, end = self.ip(source, (roles[0],), places[0]), self.ip(destination, (roles[1],), places[1])
        if start is None or end is None:
            return None
        word = (protocol or "").lower().removesuffix("v4").removesuffix("v6")
        spoken: graph.ProtocolType | None = "tcp" if word in ("tcp", "6") else "udp" if word in ("udp", "17") else None
        item = graph.NetworkConnectionEvidence(
            **self._given,
            sourceAddress=start,
            sourcePort=_port(source_port),
            destinationAddress=end,
            destinationPort=_port(destination_port),
            protocol=spoken,
        )
        key = ("flow", str(start.ipAddress), str(source_port), str(end.ipAddress), str(destination_port), word)
        return self.add(item, key)

    # ------------------------------------------------------------ what ran

    def file(
        self,
        name: str | None = None,
        path: str | None = None,
        hashes: Iterable[str | None] = (),
        *,
        size: int | None = None,
        publisher: str | None = None,
        roles: Roles = (),
        status: graph.DetectionStatus | None = None,
    ) -> graph.FileEvidence | None:
        details = self._details(name, path, hashes, size=size, publisher=publisher)
        if details is None:
            return None
        keys = [("file", value) for value in (details.sha256, details.sha1, details.md5) if value]
        keys = keys or [("file", (details.filePath or details.fileName or "").lower())]
        item = graph.FileEvidence(**self._given, roles=list(roles), fileDetails=details, detectionStatus=status)
        return self.add(item, *keys)

    def _details(
        self,
        name: str | None,
        path: str | None,
        hashes: Iterable[str | None],
        *,
        size: int | None = None,
        publisher: str | None = None,
        role: str = "",
    ) -> graph.FileDetails | None:
        found = names.hashes_in(hashes)
        name = name or names.file_name(path)
        if not (name or path or found):
            return None
        for value in found.values():
            self.observe("hash", value, role)
        return graph.FileDetails(
            fileName=name,
            filePath=names.full_path(path, name),
            fileSize=size if size is not None and size >= 0 else None,
            filePublisher=publisher,
            md5=found.get("md5"),
            sha1=found.get("sha1"),
            sha256=found.get("sha256"),
        )

    def process(
        self,
        command_line: str | None = None,
        *,
        name: str | None = None,
        path: str | None = None,
        pid: int | None = None,
        hashes: Iterable[str | None] = (),
        started: str | None = None,
        user: graph.UserEvidence | None = None,
        parent_name: str | None = None,
        parent_path: str | None = None,
        parent_pid: int | None = None,
        parent_hashes: Iterable[str | None] = (),
        parent_started: str | None = None,
        roles: Roles = (),
        status: graph.DetectionStatus | None = None,
    ) -> graph.ProcessEvidence | None:
        image = self._details(name, path, hashes)
        parent = self._details(parent_name, parent_path, parent_hashes, role="parent")
        if image is None and not command_line:
            return None
        item = graph.ProcessEvidence(
            **self._given,
            roles=list(roles),
            detectionStatus=status,
            imageFile=image,
            processCommandLine=command_line,
            processId=pid,
            processCreationDateTime=started,
            userAccount=user.userAccount if user else None,
            parentProcessId=parent_pid,
            parentProcessImageFile=parent,
            parentProcessCreationDateTime=parent_started,
        )
        full = image.filePath if image else None
        self.observe("process", image.fileName if image else None)
        self.observe("process", full if full and names.file_name(full) != full else None, "image")
        self.observe("process", command_line, "commandLine")
        self.observe("process", parent.fileName if parent else None, "parent")
        key = ("process", str(pid), (full or (image.fileName if image else None) or "").lower(), command_line or "")
        return self.add(item, key)

    def registry(
        self, key: str | None, value_name: str | None = None, value: str | None = None, roles: Roles = ()
    ) -> graph.AlertEvidence | None:
        """A key, or a value of it where one is named."""
        if not key:
            return None
        head, _, tail = key.lstrip("\\").removeprefix("REGISTRY\\").partition("\\")
        hive = _HIVES.get(head.lower(), head if head.upper().startswith("HKEY_") else None)
        if hive is not None:
            key = tail
        if value_name is None and value is None:
            return self.add(
                graph.RegistryKeyEvidence(**self._given, roles=list(roles), registryHive=hive, registryKey=key),
                ("registry", hive or "", key.lower()),
            )
        return self.add(
            graph.RegistryValueEvidence(
                **self._given,
                roles=list(roles),
                registryHive=hive,
                registryKey=key,
                registryValueName=value_name,
                registryValue=value,
            ),
            ("registry value", hive or "", key.lower(), (value_name or "").lower()),
        )

    def malware(self, name: str | None, category: str | None = None) -> graph.MalwareEvidence | None:
        if not name:
            return None
        return self.add(graph.MalwareEvidence(**self._given, name=name, category=category), ("malware", name.lower()))

    # ------------------------------------------------------------ names on the net, mail

    def url(self, text: str | None, roles: Roles = ()) -> graph.UrlEvidence | None:
        """A URL; its host joins the index as a domain or an address."""
        if not text or not names.is_url(text):
            return None
        host = url_host(text)
        self.observe("url", text)
        self.observe("domain", names.domain(host))
        self.observe("address", names.address(host), "destination")
        return self.add(graph.UrlEvidence(**self._given, roles=list(roles), url=text), ("url", text))

    def domain(
        self, name: str | None, answers: Iterable[str | None] = (), roles: Roles = ()
    ) -> graph.DnsEvidence | None:
        """A domain name, with the addresses that it resolved to."""
        value = names.domain(name)
        if value is None:
            return None
        self.observe("domain", value)
        found = [self.ip(text, alone=False) for text in names.addresses(answers)]
        item = graph.DnsEvidence(
            **self._given,
            roles=list(roles),
            domainName=value,
            ipAddresses=[answer for answer in found if answer is not None],
        )
        return self.add(item, ("domain", value.lower()))

    def mailbox(self, text: str | None, display: str | None = None, roles: Roles = ()) -> graph.MailboxEvidence | None:
        read = names.account(text)
        if read.upn is None:
            return None
        self.observe("mailbox", read.upn, roles[0] if roles else "")
        account = graph.UserAccount(accountName=read.name, domainName=read.domain, userPrincipalName=read.upn)
        item = graph.MailboxEvidence(
            **self._given,
            roles=list(roles),
            primaryAddress=read.upn,
            upn=read.upn,
            displayName=display,
            userAccount=account,
        )
        return self.add(item, ("mailbox", read.upn.lower()))

    # ------------------------------------------------------------ cloud, containers

    def app(
        self, name: str | None, app_id: int | None = None, roles: Roles = ()
    ) -> graph.CloudApplicationEvidence | None:
        if not name:
            return None
        self.observe("resource", name)
        item = graph.CloudApplicationEvidence(**self._given, roles=list(roles), displayName=name, appId=app_id)
        return self.add(item, ("app", name.lower()))

    def amazon(
        self,
        resource_id: str | None,
        *,
        name: str | None = None,
        kind: str | None = None,
        account: str | None = None,
        roles: Roles = (),
    ) -> graph.AmazonResourceEvidence | None:
        """A resource of AWS by ARN or id, or by name; with `kind` "Account" the account itself."""
        if not (resource_id or name or (account and kind == "Account")):
            return None
        for value in dict.fromkeys((resource_id, name)):
            self.observe("resource", value)
        item = graph.AmazonResourceEvidence(
            **self._given,
            roles=list(roles),
            amazonResourceId=resource_id,
            resourceName=name,
            resourceType=kind,
            amazonAccountId=account,
        )
        return self.add(item, ("amazon", resource_id or name or account or "", kind or ""))

    def container(
        self,
        container_id: str | None,
        name: str | None = None,
        image: str | None = None,
        *,
        privileged: bool | None = None,
        pod: graph.KubernetesPodEvidence | None = None,
    ) -> graph.ContainerEvidence | None:
        if not (container_id or name):
            return None
        self.observe("resource", container_id)
        self.observe("resource", name)
        self.observe("resource", image, "image")
        pulled = graph.ContainerImageEvidence(**self._given, imageId=image) if image else None
        item = graph.ContainerEvidence(
            **self._given, containerId=container_id, name=name, image=pulled, isPrivileged=privileged, pod=pod
        )
        return self.add(item, ("container", container_id or name or ""))

    def cluster(self, name: str | None) -> graph.KubernetesClusterEvidence | None:
        if not name:
            return None
        self.observe("resource", name)
        return self.add(graph.KubernetesClusterEvidence(**self._given, name=name), ("cluster", name))

    def pod(
        self,
        name: str | None,
        namespace: str | None = None,
        *,
        cluster: str | None = None,
        controller: str | None = None,
        controller_kind: str | None = None,
        service_account: str | None = None,
    ) -> graph.KubernetesPodEvidence | None:
        if not name:
            return None
        self.observe("resource", name)
        inside = None
        if namespace:
            home = graph.KubernetesClusterEvidence(**self._given, name=cluster) if cluster else None
            inside = graph.KubernetesNamespaceEvidence(**self._given, name=namespace, cluster=home)
        item = graph.KubernetesPodEvidence(**self._given, name=name, namespace=inside)
        if controller:
            item.controller = graph.KubernetesControllerEvidence(
                **self._given, name=controller, type=controller_kind, namespace=inside
            )
        if service_account:
            item.serviceAccount = graph.KubernetesServiceAccountEvidence(
                **self._given, name=service_account, namespace=inside
            )
        return self.add(item, ("pod", namespace or "", name))

    def session(
        self,
        session_id: str | None,
        user: graph.UserEvidence | None = None,
        *,
        browser: str | None = None,
        os: str | None = None,
        device: str | None = None,
        user_agent: str | None = None,
    ) -> graph.CloudLogonSessionEvidence | None:
        if not session_id or session_id.lower() == "unknown":
            return None
        item = graph.CloudLogonSessionEvidence(
            **self._given,
            sessionId=session_id,
            account=user,
            browser=browser,
            operatingSystem=os,
            deviceName=device,
            userAgent=user_agent,
        )
        return self.add(item, ("session", session_id))


def _user_keys(account: graph.UserAccount) -> list[tuple[str, ...]]:
    keys: list[tuple[str, ...]] = []
    if account.userPrincipalName:
        keys.append(("upn", account.userPrincipalName.lower()))
    if account.userSid:
        keys.append(("sid", account.userSid.upper()))
    if account.azureAdUserId:
        keys.append(("user id", account.azureAdUserId.lower()))
    if account.accountName and not account.userPrincipalName:
        name = account.accountName.lower()
        keys.append(("account", (account.domainName or "").lower(), name))
    return keys


def _fill(old: Any, new: Any) -> None:
    """Sets what `old` lacks; roles and other lists grow by what is new."""
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, list) and isinstance(after, list):
            setattr(old, name, before + [item for item in after if item not in before])
        elif before is None:
            setattr(old, name, after)
        elif isinstance(before, Struct) and type(before) is type(after):
            _fill(before, after)


def _port(value: int | None) -> int | None:
    return value if value is not None and 0 <= value <= 65_535 else None
