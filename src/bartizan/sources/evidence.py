"""What one record names, as Graph evidence and as entries of the entity index: one object per distinct entity.

Every method takes what a vendor wrote and ignores what names nothing, so that a source hands over its fields as they
are. Objects stand in the order of first mention.
Values that are no such entity (an address that is none) give None.
"""

from collections.abc import Iterable

from msgspec import Struct

from bartizan.model import security as graph
from bartizan.model.countries import country_code
from bartizan.model.entities import numbered, url_host
from bartizan.sources import entities as names
from bartizan.sources.cloud_evidence import CloudEvidence
from bartizan.sources.collector import Roles

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


class Evidence(CloudEvidence):
    """Collects. `items` go to `Alert.evidence`, `observed` to `Event.entities`."""

    # ------------------------------------------------------------ who and where

    def _told_apart(self, name: str | None, device_id: str | None) -> tuple[str | None, str | None]:
        """The name and the id of a device; a GUID or a number that stands for its name is its id."""
        if name is None or not numbered(name):
            return name, device_id
        self.observe("resource", name, "device")
        return None, device_id or name

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
        name = None if (name or "").lower() in ("unknown", "localhost", "undefined") else name
        if names.address(name) is not None:
            addresses, name = [name, *addresses], None
        name, device_id = self._told_apart(name, device_id)
        if not (name or device_id or directory_id):
            return None
        own, outside = names.addresses(addresses), names.address(external)
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
        self.observe("host", label)
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
        if not (name or upn or sid or object_id):
            return None
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
        item = graph.FileEvidence(**self._given, roles=list(roles), fileDetails=details, detectionStatus=status)
        keys = [("file", value) for value in (details.sha256, details.sha1, details.md5) if value]
        called = ("file", (details.filePath or details.fileName or "").lower())
        if called[1] and (not keys or not _has_hash(self._by_key.get(called))):
            keys.append(called)
        self.join(*keys, agree=_same_file)
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
        if names.is_path(name):
            name, path = names.file_name(name), path or name
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

    def message(
        self,
        network_id: str | None = None,
        *,
        internet_id: str | None = None,
        sender: str | None = None,
        envelope_sender: str | None = None,
        recipient: str | None = None,
        sender_ip: str | None = None,
        subject: str | None = None,
        received: str | None = None,
        urls: Iterable[str | None] = (),
        threats: Iterable[str] = (),
        action: str | None = None,
        direction: str | None = None,
        roles: Roles = (),
    ) -> graph.AnalyzedMessageEvidence | None:
        """A mail to one recipient. `sender` is that of the header (P2), `envelope_sender` that of the envelope (P1)."""
        header, envelope, to = names.account(sender), names.account(envelope_sender), names.account(recipient)
        if not (network_id or internet_id or header.upn or envelope.upn or to.upn):
            return None
        address = names.address(sender_ip)
        links = [text for text in urls if text and names.is_url(text)]
        for value, role in ((header.upn, "sender"), (envelope.upn, "sender"), (to.upn, "recipient")):
            self.observe("mailbox", value, role)
        for mail in (header, envelope):
            self.observe("domain", names.domain(mail.domain), "sender")
        self.observe("address", address, "source")
        for text in links:
            self.observe("url", text)
            self.observe("domain", names.domain(url_host(text)))
        item = graph.AnalyzedMessageEvidence(
            **self._given,
            roles=list(roles),
            networkMessageId=network_id,
            internetMessageId=internet_id,
            p1Sender=_sender(envelope),
            p2Sender=_sender(header),
            recipientEmailAddress=to.upn,
            senderIp=address,
            subject=subject,
            receivedDateTime=received,
            urls=list(dict.fromkeys(links)),
            threats=list(threats),
            deliveryAction=action,
            antiSpamDirection=direction,
        )
        return self.add(item, ("message", network_id or internet_id or "", (to.upn or "").lower(), sender or ""))

    def iot(
        self,
        name: str | None,
        *,
        device_id: str | None = None,
        address: str | None = None,
        mac: str | None = None,
        kind: str | None = None,
        vendor: str | None = None,
        model: str | None = None,
        os: str | None = None,
        zone: str | None = None,
        roles: Roles = (),
    ) -> graph.IoTDeviceEvidence | None:
        """A device of an industrial or building network."""
        if names.address(name) is not None:
            address, name = address or name, None
        name, device_id = self._told_apart(name, device_id)
        own = self.ip(address, alone=False)
        if not (name or device_id or mac or own):
            return None
        self.observe("host", name)
        self.observe("resource", device_id, "device")
        item = graph.IoTDeviceEvidence(
            **self._given,
            roles=list(roles),
            deviceName=name,
            deviceId=device_id,
            ipAddress=own,
            macAddress=mac,
            deviceType=kind,
            manufacturer=vendor,
            model=model,
            operatingSystem=os,
            zone=zone,
        )
        return self.add(item, ("iot", (device_id or mac or name or str(own and own.ipAddress)).lower()))


def _has_hash(item: graph.AlertEvidence | None) -> bool:
    details = item.fileDetails if isinstance(item, graph.FileEvidence) else None
    return details is not None and bool(details.sha256 or details.sha1 or details.md5)


def _same_file(one: graph.AlertEvidence, other: graph.AlertEvidence) -> bool:
    """Whether nothing that both say of their file tells them apart."""
    if not isinstance(one, graph.FileEvidence) or not isinstance(other, graph.FileEvidence):
        return False
    return all(
        not (before and after) or before.lower() == after.lower()
        for before, after in (
            (getattr(one.fileDetails, name), getattr(other.fileDetails, name))
            for name in ("sha256", "sha1", "md5", "fileName", "filePath")
        )
    )


def _sender(mail: names.Account) -> graph.EmailSender | None:
    return graph.EmailSender(emailAddress=mail.upn, domainName=mail.domain) if mail.upn else None


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


def _port(value: int | None) -> int | None:
    return value if value is not None and 0 <= value <= 65_535 else None
