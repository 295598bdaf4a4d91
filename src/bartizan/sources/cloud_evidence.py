"""Evidence of clouds, containers, code hosts, applications and directories.

Values that name nothing give None, as in `evidence`.
"""

from collections.abc import Sequence

from bartizan.model import security as graph
from bartizan.sources.collector import Collector, Roles

# Kinds of objects of Kubernetes that run pods; what is of a kind without a type of evidence is a resource alone.
_CONTROLLERS = frozenset("deployment daemonset statefulset replicaset replicationcontroller job cronjob".split())


class CloudEvidence(Collector):
    """Adds to the collection what lives in clouds."""

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

    def mail_cluster(
        self,
        by: str | None = None,
        value: str | None = None,
        *,
        query: str | None = None,
        ids: Sequence[str] = (),
        count: int | None = None,
        urn: str | None = None,
    ) -> graph.MailClusterEvidence | None:
        """Mails that are alike by what they share (`by`, `value`), by a query, or by their network message ids."""
        if not (ids or query or by):
            return None
        item = graph.MailClusterEvidence(
            **self._given,
            clusterBy=by,
            clusterByValue=value,
            emailCount=count,
            networkMessageIds=list(ids),
            query=query,
            urn=urn,
        )
        return self.add(item, ("mail cluster", query or by or ids[0], value or ""))

    def blob(
        self,
        name: str | None,
        url: str | None = None,
        *,
        etag: str | None = None,
        container: str | None = None,
        container_url: str | None = None,
    ) -> graph.BlobEvidence | None:
        if not (name or url):
            return None
        self.observe("url", url)
        held = (
            graph.BlobContainerEvidence(**self._given, name=container, url=container_url)
            if container or container_url
            else None
        )
        item = graph.BlobEvidence(**self._given, name=name, url=url, etag=etag, blobContainer=held)
        return self.add(item, ("blob", (url or name or "").lower()))

    def logon_request(self, request_id: str | None) -> graph.CloudLogonRequestEvidence | None:
        """The sign-in that an identity provider knows by this id."""
        if not request_id:
            return None
        return self.add(graph.CloudLogonRequestEvidence(**self._given, requestId=request_id), ("request", request_id))

    def azure(
        self, resource_id: str | None, *, name: str | None = None, kind: str | None = None, roles: Roles = ()
    ) -> graph.AzureResourceEvidence | None:
        """A resource of Azure by its path ("/subscriptions/..."), or by name."""
        if not (resource_id or name):
            return None
        if resource_id and not name and resource_id.startswith("/"):
            name = resource_id.rstrip("/").rpartition("/")[2]
        for value in dict.fromkeys((resource_id, name)):
            self.observe("resource", value)
        item = graph.AzureResourceEvidence(
            **self._given, roles=list(roles), resourceId=resource_id, resourceName=name, resourceType=kind
        )
        return self.add(item, ("azure", (resource_id or name or "").lower()))

    def google(
        self,
        full_name: str | None,
        *,
        name: str | None = None,
        kind: str | None = None,
        project: str | None = None,
        location: str | None = None,
        roles: Roles = (),
    ) -> graph.GoogleCloudResourceEvidence | None:
        """A resource of Google Cloud by its full name ("//compute.googleapis.com/projects/..."), or by name."""
        if not (full_name or name):
            return None
        if full_name and not name:
            name = full_name.rstrip("/").rpartition("/")[2]
        for value in dict.fromkeys((full_name, name)):
            self.observe("resource", value)
        item = graph.GoogleCloudResourceEvidence(
            **self._given,
            roles=list(roles),
            fullResourceName=full_name,
            resourceName=name,
            resourceType=kind,
            projectId=project,
            location=location,
        )
        return self.add(item, ("google", full_name or name or ""))

    def repository(
        self,
        full_name: str | None,
        *,
        url: str | None = None,
        repo_id: str | None = None,
        owner_kind: str | None = None,
    ) -> graph.GitHubRepoEvidence | None:
        """A repository by "owner/name"."""
        if not full_name:
            return None
        owner, _, name = full_name.rpartition("/")
        self.observe("resource", full_name)
        item = graph.GitHubRepoEvidence(
            **self._given, baseUrl=url, login=name, owner=owner or None, ownerType=owner_kind, repoId=repo_id
        )
        return self.add(item, ("repository", full_name.lower()))

    def github_user(
        self, login: str | None, *, user_id: str | None = None, email: str | None = None, roles: Roles = ()
    ) -> graph.GitHubUserEvidence | None:
        if not login:
            return None
        self.observe("user", login, roles[0] if roles else "")
        self.observe("user", email, roles[0] if roles else "")
        item = graph.GitHubUserEvidence(**self._given, roles=list(roles), login=login, userId=user_id, email=email)
        return self.add(item, ("github user", login.lower()))

    def organization(self, login: str | None, org_id: str | None = None) -> graph.GitHubOrganizationEvidence | None:
        if not login:
            return None
        self.observe("resource", login)
        item = graph.GitHubOrganizationEvidence(**self._given, login=login, orgId=org_id)
        return self.add(item, ("organization", login.lower()))

    def oauth_app(
        self, name: str | None, *, app_id: str | None = None, object_id: str | None = None, publisher: str | None = None
    ) -> graph.OauthApplicationEvidence | None:
        if not (name or app_id or object_id):
            return None
        for value in (name, app_id, object_id):
            self.observe("resource", value)
        item = graph.OauthApplicationEvidence(
            **self._given, displayName=name, appId=app_id, objectId=object_id, publisher=publisher
        )
        return self.add(item, ("oauth app", (app_id or object_id or name or "").lower()))

    def service_principal(
        self, name: str | None, *, app_id: str | None = None, object_id: str | None = None, roles: Roles = ()
    ) -> graph.ServicePrincipalEvidence | None:
        if not (name or app_id or object_id):
            return None
        for value in (name, app_id, object_id):
            self.observe("resource", value, roles[0] if roles else "")
        item = graph.ServicePrincipalEvidence(
            **self._given,
            roles=list(roles),
            servicePrincipalName=name,
            appId=app_id,
            servicePrincipalObjectId=object_id,
        )
        return self.add(item, ("service principal", (object_id or app_id or name or "").lower()))

    def group(
        self, name: str | None, *, group_id: str | None = None, sid: str | None = None
    ) -> graph.SecurityGroupEvidence | None:
        if not (name or group_id or sid):
            return None
        for value in (name, group_id, sid):
            self.observe("resource", value)
        item = graph.SecurityGroupEvidence(**self._given, displayName=name, securityGroupId=group_id, sid=sid)
        return self.add(item, ("group", (group_id or sid or name or "").lower()))

    def image(self, name: str | None, registry: str | None = None) -> graph.ContainerImageEvidence | None:
        """A container image by its reference ("registry/app:tag" or a digest)."""
        if not name:
            return None
        self.observe("resource", name, "image")
        home = graph.ContainerRegistryEvidence(**self._given, registry=registry) if registry else None
        return self.add(graph.ContainerImageEvidence(**self._given, imageId=name, registry=home), ("image", name))

    def kubernetes(
        self, kind: str | None, name: str | None, namespace: str | None = None, cluster: str | None = None
    ) -> graph.AlertEvidence | None:
        """An object of a cluster by its kind in any spelling ("pods", "Deployment", "serviceaccounts")."""
        word = (kind or "").lower().replace("kubernetes", "").strip(" _-").removesuffix("s")
        if word == "pod":
            return self.pod(name, namespace, cluster=cluster)
        if word == "cluster":
            return self.cluster(name)
        if not name:
            return None
        self.observe("resource", name)
        home = graph.KubernetesClusterEvidence(**self._given, name=cluster) if cluster else None
        inside = graph.KubernetesNamespaceEvidence(**self._given, name=namespace, cluster=home) if namespace else None
        key = (word, namespace or "", name)
        if word == "namespace":
            return self.add(graph.KubernetesNamespaceEvidence(**self._given, name=name, cluster=home), key)
        if word == "secret":
            return self.add(graph.KubernetesSecretEvidence(**self._given, name=name, namespace=inside), key)
        if word == "serviceaccount":
            return self.add(graph.KubernetesServiceAccountEvidence(**self._given, name=name, namespace=inside), key)
        if word == "service":
            return self.add(graph.KubernetesServiceEvidence(**self._given, name=name, namespace=inside), key)
        if word not in _CONTROLLERS:
            return None
        one = (kind or "").removesuffix("s")
        return self.add(graph.KubernetesControllerEvidence(**self._given, name=name, type=one, namespace=inside), key)
