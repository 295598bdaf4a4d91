"""The entities of Microsoft's security alerts, as Sentinel, Defender for Cloud and investigations of Office write them:
objects with a Type (or kind) that refer to one another by $id and $ref.

Source: Microsoft Sentinel, "Entity types reference"; Office 365 Management Activity API schema, "Main investigation
schema".
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from bartizan.model import security as graph
from bartizan.sources.collector import MAX_EVIDENCE
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields
from bartizan.sources.times import first_time

_MAX_NODES = 5_000  # that are looked through for ids
_MAX_DEPTH = 4  # of entities inside entities: a process, its parent, that one's image, its hashes
_By = Mapping[str, Fields]  # $id -> entity


def read_entities(items: Iterable[Fields], evidence: Evidence) -> None:
    """Adds what the entities name. Unknown types add nothing; the record holds them."""
    whole = [_flat(item) for item in items][:MAX_EVIDENCE]
    by_id = {name: item for item in islice(_all(whole), _MAX_NODES) if (name := item.text("$id")) is not None}
    for item in whole:
        _one(item, evidence, by_id)


def _flat(item: Fields) -> Fields:
    """Sentinel's API puts what an entity is beside its kind, in `properties`."""
    inner = item.object("properties")
    return Fields({**inner.data, "Type": item.text("kind", "type")}) if inner else item


def _all(items: Iterable[Fields], depth: int = _MAX_DEPTH) -> Iterable[Fields]:
    for item in items:
        yield item
        if depth:
            inside = [found for key in item.data if isinstance(key, str) for found in item.objects(key)]
            yield from _all(inside, depth - 1)


def _at(item: Fields, by_id: _By, *paths: str) -> Fields:
    """The entity at a path, itself or by reference."""
    found = item.object(*paths)
    return by_id.get(found.text("$ref") or "", found)


def _one(item: Fields, evidence: Evidence, by_id: _By) -> graph.AlertEvidence | None:
    kind = "".join(letter for letter in (item.text("Type", "kind") or "").lower() if letter.isalnum())
    how = _HOW.get(kind)
    made = how(item, evidence, by_id) if how is not None else None
    if made is not None:
        words = [role.lower() for role in item.texts("Roles")]
        for word, role in _ROLES.items():
            if word in words and role not in made.roles:
                made.roles.append(role)
    return made


_ROLES: Mapping[str, graph.EvidenceRole] = {
    "attacker": "attacker",
    "attacked": "attacked",
    "compromised": "compromised",
}


def _account(item: Fields, evidence: Evidence, by_id: _By) -> graph.UserEvidence | None:
    name, suffix = item.text("Name", "accountName"), item.text("UPNSuffix")
    if name is not None and "@" in name and suffix is None:
        name, _, suffix = name.rpartition("@")
    return evidence.user(
        name,
        domain=item.text("NTDomain"),
        upn=item.text("UserPrincipalName") or (f"{name}@{suffix}" if name and suffix else None),
        sid=item.text("Sid"),
        object_id=item.text("AadUserId"),
        display=item.text("DisplayName"),
    )


def _host(item: Fields, evidence: Evidence, by_id: _By) -> graph.DeviceEvidence | None:
    name, domain = item.text("FQDN", "HostName", "NetBiosName"), item.text("DnsDomain")
    if name and domain and "." not in name:
        name = f"{name}.{domain}"
    return evidence.host(
        name,
        domain=item.text("NTDomain"),
        os=item.text("OSFamily"),
        version=item.text("OSVersion"),
        device_id=item.text("MdatpDeviceId", "MicrosoftDefenderDeviceId"),
        directory_id=item.text("AadDeviceId"),
    )


def _ip(item: Fields, evidence: Evidence, by_id: _By) -> graph.IpEvidence | None:
    where = item.object("Location")
    place = Place(
        country=where.text("CountryCode", "CountryName"),
        city=where.text("City"),
        state=where.text("State"),
        latitude=where.number("Latitude"),
        longitude=where.number("Longitude"),
    )
    return evidence.ip(item.text("Address"), place=place)


def _hashes(item: Fields, by_id: _By) -> list[str | None]:
    named = [by_id.get(each.text("$ref") or "", each).text("Value", "hashValue") for each in item.objects("FileHashes")]
    return [*named, item.text("Sha256"), item.text("Sha1"), item.text("Md5")]


def _file(item: Fields, evidence: Evidence, by_id: _By) -> graph.FileEvidence | None:
    _host(_at(item, by_id, "Host"), evidence, by_id)
    return evidence.file(
        item.text("Name", "fileName"),
        item.text("Directory"),
        _hashes(item, by_id),
        size=item.integer("SizeInBytes", "Size"),
    )


def _hash(item: Fields, evidence: Evidence, by_id: _By) -> graph.FileEvidence | None:
    return evidence.file(hashes=[item.text("Value", "hashValue")])


def _process(item: Fields, evidence: Evidence, by_id: _By) -> graph.ProcessEvidence | None:
    image, parent = _at(item, by_id, "ImageFile"), _at(item, by_id, "ParentProcess")
    parent_image = _at(parent, by_id, "ImageFile")
    _host(_at(item, by_id, "Host"), evidence, by_id)
    return evidence.process(
        item.text("CommandLine"),
        name=image.text("Name", "fileName"),
        path=image.text("Directory"),
        pid=item.integer("ProcessId"),
        hashes=_hashes(image, by_id),
        started=first_time(item, "CreationTimeUtc"),
        user=_account(_at(item, by_id, "Account"), evidence, by_id),
        parent_name=parent_image.text("Name", "fileName"),
        parent_path=parent_image.text("Directory"),
        parent_pid=parent.integer("ProcessId"),
        parent_started=first_time(parent, "CreationTimeUtc"),
    )


def _url(item: Fields, evidence: Evidence, by_id: _By) -> graph.AlertEvidence | None:
    text = item.text("Url")
    return evidence.url(text) or evidence.domain(text)


def _dns(item: Fields, evidence: Evidence, by_id: _By) -> graph.DnsEvidence | None:
    answers = [by_id.get(each.text("$ref") or "", each).text("Address") for each in item.objects("IpAddresses")]
    return evidence.domain(item.text("DomainName"), answers)


def _malware(item: Fields, evidence: Evidence, by_id: _By) -> graph.MalwareEvidence | None:
    return evidence.malware(item.text("Name", "malwareName"), item.text("Category"))


def _registry(item: Fields, evidence: Evidence, by_id: _By) -> graph.AlertEvidence | None:
    of = _at(item, by_id, "Key") or item
    hive, key = of.text("Hive"), of.text("Key")
    full = f"{hive}\\{key}" if hive and key else key
    return evidence.registry(full, item.text("Name", "valueName"), item.text("Value", "valueData"))


def _mailbox(item: Fields, evidence: Evidence, by_id: _By) -> graph.MailboxEvidence | None:
    return evidence.mailbox(item.text("MailboxPrimaryAddress", "Upn"), item.text("DisplayName"))


def _mail(item: Fields, evidence: Evidence, by_id: _By) -> graph.AnalyzedMessageEvidence | None:
    for file in item.objects("Files")[:50]:
        _file(by_id.get(file.text("$ref") or "", file), evidence, by_id)
    return evidence.message(
        item.text("NetworkMessageId"),
        internet_id=item.text("InternetMessageId"),
        sender=item.text("P2Sender", "Sender"),
        envelope_sender=item.text("P1Sender"),
        recipient=item.text("Recipient"),
        sender_ip=item.text("SenderIP"),
        subject=item.text("Subject"),
        received=first_time(item, "ReceivedDate", "ReceiveDate", "Timestamp"),
        urls=item.texts("Urls")[:100],
        threats=item.texts("Threats")[:100],
        action=item.text("DeliveryAction"),
        direction=item.text("AntispamDirection"),
    )


def _cluster(item: Fields, evidence: Evidence, by_id: _By) -> graph.MailClusterEvidence | None:
    """Mails that are alike: of Office's investigations, and of advanced hunting."""
    return evidence.mail_cluster(
        item.text("ClusterBy", "ClusterGroup"),
        item.text("ClusterByValue"),
        query=item.text("Query"),
        ids=item.texts("NetworkMessageIds")[:MAX_EVIDENCE],
        count=item.integer("MailCount"),
        urn=item.text("Urn"),
    )


def _session(item: Fields, evidence: Evidence, by_id: _By) -> graph.CloudLogonSessionEvidence | None:
    account = _account(_at(item, by_id, "Account"), evidence, by_id)
    return evidence.session(item.text("SessionId"), account, user_agent=item.text("UserAgent"))


def _request(item: Fields, evidence: Evidence, by_id: _By) -> graph.CloudLogonRequestEvidence | None:
    return evidence.logon_request(item.text("RequestId"))


def _blob(item: Fields, evidence: Evidence, by_id: _By) -> graph.BlobEvidence | None:
    """A blob, with the account of storage that holds it."""
    container = _at(item, by_id, "BlobContainer")
    store = _at(container or item, by_id, "StorageResource")
    evidence.azure(store.text("AzureResourceId", "ResourceId"), kind="Storage Account")
    return evidence.blob(
        item.text("Name"),
        item.text("Url"),
        etag=item.text("Etag"),
        container=container.text("Name"),
        container_url=container.text("Url"),
    )


def _cloud(item: Fields, evidence: Evidence, by_id: _By) -> graph.CloudApplicationEvidence | None:
    return evidence.app(item.text("Name", "AppName"), item.integer("AppId"))


def _azure(item: Fields, evidence: Evidence, by_id: _By) -> graph.AzureResourceEvidence | None:
    return evidence.azure(
        item.text("ResourceId", "AzureResourceId"), name=item.text("ResourceName"), kind=item.text("ResourceType")
    )


def _amazon(item: Fields, evidence: Evidence, by_id: _By) -> graph.AmazonResourceEvidence | None:
    return evidence.amazon(
        item.text("AmazonResourceId", "ResourceId"),
        name=item.text("ResourceName"),
        kind=item.text("ResourceType"),
        account=item.text("AmazonAccountId"),
    )


def _google(item: Fields, evidence: Evidence, by_id: _By) -> graph.GoogleCloudResourceEvidence | None:
    return evidence.google(
        item.text("FullResourceName", "ResourceId"),
        name=item.text("ResourceName"),
        kind=item.text("ResourceType"),
        project=item.text("ProjectId"),
        location=item.text("Location"),
    )


def _group(item: Fields, evidence: Evidence, by_id: _By) -> graph.SecurityGroupEvidence | None:
    return evidence.group(
        item.text("DisplayName", "FriendlyName", "DistinguishedName"),
        group_id=item.text("ObjectGuid"),
        sid=item.text("Sid"),
    )


def _oauth(item: Fields, evidence: Evidence, by_id: _By) -> graph.OauthApplicationEvidence | None:
    return evidence.oauth_app(item.text("Name", "OAuthAppName"), app_id=item.text("OAuthAppId", "AppId"))


def _principal(item: Fields, evidence: Evidence, by_id: _By) -> graph.ServicePrincipalEvidence | None:
    return evidence.service_principal(
        item.text("Name", "ServicePrincipalName"),
        app_id=item.text("AppId"),
        object_id=item.text("ServicePrincipalObjectId", "AadObjectId"),
    )


def _iot(item: Fields, evidence: Evidence, by_id: _By) -> graph.IoTDeviceEvidence | None:
    return evidence.iot(
        item.text("DeviceName"),
        device_id=item.text("DeviceId"),
        address=_at(item, by_id, "IpAddress", "IpAddressEntity").text("Address") or item.text("IpAddress"),
        mac=item.text("MacAddress"),
        kind=item.text("DeviceType"),
        vendor=item.text("Manufacturer", "Vendor"),
        model=item.text("Model"),
        os=item.text("OperatingSystem"),
    )


def _kubernetes(item: Fields, evidence: Evidence, by_id: _By) -> graph.AlertEvidence | None:
    space = _at(item, by_id, "Namespace")
    cluster = _at(space or item, by_id, "Cluster")
    return evidence.kubernetes(
        (item.text("Type", "kind") or "").rpartition("-")[2] or None,
        item.text("Name"),
        space.text("Name"),
        cluster.text("Name") or _at(cluster, by_id, "CloudResource").text("ResourceId"),
    )


def _container(item: Fields, evidence: Evidence, by_id: _By) -> graph.ContainerEvidence | None:
    image = _at(item, by_id, "Image")
    return evidence.container(item.text("ContainerId"), item.text("Name"), image.text("ImageId"))


def _image(item: Fields, evidence: Evidence, by_id: _By) -> graph.ContainerImageEvidence | None:
    return evidence.image(item.text("ImageId"))


_HOW: Mapping[str, Callable[[Fields, Evidence, _By], graph.AlertEvidence | None]] = {
    "account": _account,
    "user": _account,
    "host": _host,
    "machine": _host,
    "device": _host,
    "ip": _ip,
    "file": _file,
    "filehash": _hash,
    "process": _process,
    "url": _url,
    "dns": _dns,
    "dnsresolution": _dns,
    "malware": _malware,
    "registrykey": _registry,
    "registryvalue": _registry,
    "mailbox": _mailbox,
    "mailmessage": _mail,
    "submissionmail": _mail,
    "mailcluster": _cluster,
    "cloudlogonsession": _session,
    "cloudlogonrequest": _request,
    "blob": _blob,
    "storageblob": _blob,
    "cloudapplication": _cloud,
    "azureresource": _azure,
    "amazonresource": _amazon,
    "awsresource": _amazon,
    "gcpresource": _google,
    "googlecloudresource": _google,
    "securitygroup": _group,
    "oauthapplication": _oauth,
    "serviceprincipal": _principal,
    "iotdevice": _iot,
    "container": _container,
    "containerimage": _image,
} | {
    prefix + kind: _kubernetes
    for prefix in ("k8s", "kubernetes")
    for kind in ("pod", "namespace", "cluster", "serviceaccount", "service", "secret", "controller", "deployment")
}
