"""The six sets of security profiles that the metadata has had since 2018, and the switches of providers per tenant.

Until the entity graph answers them, they hold what a provider sent through the ingestion scope.

Source: Microsoft Graph beta metadata (never documented as pages).
"""

from typing import Any

from bartizan.extend import Can, Context, Resource, resource
from bartizan.model.times import instant

_READ = "SecurityEvents.Read.All SecurityEvents.ReadWrite.All"
_INGEST = "Bartizan.Ingest.All"


def _stamp(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    return {**inner, "azureTenantId": ctx.caller.tenant}


def _profiles(name: str, columns: str) -> Resource:
    made = resource(
        f"security/{name}s",
        f"microsoft.graph.{name}",
        can=Can.READ | Can.CREATE,
        columns=columns,
        versions=("beta",),
        read=_READ,
        create=_INGEST,
    )
    made.prepare(_stamp)
    return made


_profiles("fileSecurityProfile", "fileType riskScore firstSeenDateTime lastSeenDateTime")
_profiles("hostSecurityProfile", "fqdn netBiosName os riskScore firstSeenDateTime lastSeenDateTime")
_profiles("ipSecurityProfile", "address riskScore firstSeenDateTime lastSeenDateTime")
_profiles("userSecurityProfile", "userPrincipalName displayName riskScore createdDateTime lastModifiedDateTime")
_profiles("domainSecurityProfile", "name riskScore firstSeenDateTime lastSeenDateTime")
_profiles("cloudAppSecurityProfile", "name publisher riskScore createdDateTime lastModifiedDateTime")

settings = resource(
    "security/providerTenantSettings",
    "microsoft.graph.providerTenantSetting",
    can=Can.READ | Can.CREATE | Can.PATCH,
    read="SecurityEvents.Read.All",
    write="SecurityEvents.ReadWrite.All",
    create=_INGEST,
    columns="provider vendor enabled",
    patch="enabled",
    patch_status=204,
    versions=("beta",),
    required="provider vendor",
)


@settings.prepare
def stamp_setting(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    return {"enabled": True, **inner, "azureTenantId": ctx.caller.tenant, "lastModifiedDateTime": instant(ctx.clock())}


@settings.merge
def switch(ctx: Context, before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    if all(before.get(name) == value for name, value in given.items()):
        return before
    return {**before, **given, "lastModifiedDateTime": instant(ctx.clock())}
