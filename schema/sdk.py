"""Cuts types out of Microsoft's own SDKs for Python: of policies, of roles that are given for a time, of managed
devices, of which the file of facts about the security surface (see cut.py) says nothing.

    python schema/sdk.py

writes `schema/directory.json`, one line per type and enum, in the form of `additions.json`. Cut again when ROOTS or the
SDKs (`msgraph-sdk`, `msgraph-beta-sdk`, of this environment) change. The cut is a closure over the types of properties;
what the surface or `additions.json` has already is not cut again.

Each type is open: what a directory answers may say more than the SDK of the day knows, and is kept.

An SDK does not tell properties from navigation properties: NAVIGATION does. It does not say either whether a type is
abstract, nor what may not be null.

Source: the models of msgraph-sdk and msgraph-beta-sdk.
"""

import importlib
import json
import re
import sys
from enum import Enum
from inspect import getsource
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OUT = HERE / "directory.json"
PACKAGES = {"v1.0": "msgraph", "beta": "msgraph_beta"}
GRAPH = "microsoft.graph."

ROOTS = (
    # policies of a tenant
    "activityBasedTimeoutPolicy adminConsentRequestPolicy appManagementPolicy authenticationFlowsPolicy "
    "authenticationMethodsPolicy authorizationPolicy claimsMappingPolicy crossTenantAccessPolicy "
    "crossTenantAccessPolicyConfigurationDefault crossTenantAccessPolicyConfigurationPartner deviceRegistrationPolicy "
    "externalIdentitiesPolicy featureRolloutPolicy homeRealmDiscoveryPolicy identitySecurityDefaultsEnforcementPolicy "
    "permissionGrantPolicy tenantAppManagementPolicy tokenIssuancePolicy tokenLifetimePolicy directorySetting "
    "groupSetting "
    # ways to sign in, as the policy of the tenant has them
    "emailAuthenticationMethodConfiguration externalAuthenticationMethodConfiguration "
    "fido2AuthenticationMethodConfiguration hardwareOathAuthenticationMethodConfiguration "
    "microsoftAuthenticatorAuthenticationMethodConfiguration qrCodePinAuthenticationMethodConfiguration "
    "smsAuthenticationMethodConfiguration softwareOathAuthenticationMethodConfiguration "
    "temporaryAccessPassAuthenticationMethodConfiguration verifiableCredentialsAuthenticationMethodConfiguration "
    "voiceAuthenticationMethodConfiguration x509CertificateAuthenticationMethodConfiguration "
    # roles that are given for a time
    "unifiedRoleAssignmentSchedule unifiedRoleAssignmentScheduleInstance unifiedRoleEligibilitySchedule "
    "unifiedRoleEligibilityScheduleInstance privilegedAccessGroupAssignmentSchedule "
    "privilegedAccessGroupAssignmentScheduleInstance privilegedAccessGroupEligibilitySchedule "
    "privilegedAccessGroupEligibilityScheduleInstance unifiedRoleManagementPolicy "
    "unifiedRoleManagementPolicyAssignment unifiedRoleAssignmentScheduleRequest unifiedRoleEligibilityScheduleRequest "
    "privilegedAccessGroupAssignmentScheduleRequest privilegedAccessGroupEligibilityScheduleRequest "
    "unifiedRoleManagementPolicyApprovalRule unifiedRoleManagementPolicyAuthenticationContextRule "
    "unifiedRoleManagementPolicyEnablementRule unifiedRoleManagementPolicyExpirationRule "
    "unifiedRoleManagementPolicyNotificationRule unifiedRolePermission "
    # what stands where a base is named
    "singleUser groupMembers requestorManager internalSponsors externalSponsors allDeviceRegistrationMembership "
    "enumeratedDeviceRegistrationMembership noDeviceRegistrationMembership "
    # credentials of applications that another directory gives
    "federatedIdentityCredential "
    # devices under management, what a directory is joined to, sums of the report on registration
    "managedDevice onPremisesDirectorySynchronization userRegistrationFeatureSummary userRegistrationMethodSummary "
    # when applications and their credentials were used last
    "servicePrincipalSignInActivity appCredentialSignInActivity"
).split()

# Navigation properties: kept with their target where that is served, left out where it is not.
_PRINCIPAL = {"principal": "directoryObject", "roleDefinition": "unifiedRoleDefinition"}
_IN_GROUP = {"principal": "directoryObject", "group": "group"}
_ASKED = {**_PRINCIPAL, "directoryScope": "directoryObject"}
NAVIGATION: dict[str, dict[str, str]] = {
    "unifiedRoleScheduleBase": {**_PRINCIPAL, "directoryScope": "directoryObject"},
    "unifiedRoleScheduleInstanceBase": {**_PRINCIPAL, "directoryScope": "directoryObject"},
    "unifiedRoleAssignmentSchedule": {"activatedUsing": "unifiedRoleEligibilitySchedule"},
    "unifiedRoleAssignmentScheduleInstance": {"activatedUsing": "unifiedRoleEligibilityScheduleInstance"},
    "privilegedAccessGroupAssignmentSchedule": {
        **_IN_GROUP,
        "activatedUsing": "privilegedAccessGroupEligibilitySchedule",
    },
    "privilegedAccessGroupAssignmentScheduleInstance": {
        **_IN_GROUP,
        "activatedUsing": "privilegedAccessGroupEligibilityScheduleInstance",
    },
    "privilegedAccessGroupEligibilitySchedule": _IN_GROUP,
    "privilegedAccessGroupEligibilityScheduleInstance": _IN_GROUP,
    "unifiedRoleAssignmentScheduleRequest": {
        **_ASKED,
        "activatedUsing": "unifiedRoleEligibilitySchedule",
        "targetSchedule": "unifiedRoleAssignmentSchedule",
    },
    "unifiedRoleEligibilityScheduleRequest": {**_ASKED, "targetSchedule": "unifiedRoleEligibilitySchedule"},
    "privilegedAccessGroupAssignmentScheduleRequest": {
        **_IN_GROUP,
        "activatedUsing": "privilegedAccessGroupEligibilitySchedule",
        "targetSchedule": "privilegedAccessGroupEligibilitySchedule",
    },
    "privilegedAccessGroupEligibilityScheduleRequest": {
        **_IN_GROUP,
        "targetSchedule": "privilegedAccessGroupEligibilitySchedule",
    },
    "managedDevice": {"users": "user"},
    "unifiedRoleManagementPolicyAssignment": {"policy": "unifiedRoleManagementPolicy"},
}
# Left out: what would pull in another area, or is a path of its own.
LEFT_OUT = {
    "appScope",
    "appliesTo",
    "activationLockBypassCode",  # a secret
    "detectedApps",
    "deviceCategory",
    "deviceCompliancePolicyStates",
    "deviceConfigurationStates",
    "identitySynchronization",
    "logCollectionRequests",
    "managedDeviceMobileAppConfigurationStates",
    "securityBaselineStates",
    "serviceProviderConstraints",
    "windowsProtectionState",
    "backingStore",
    "templates",
    "default",
    "partners",
}
ABSTRACT = {
    "authenticationMethodConfiguration",
    "privilegedAccessSchedule",
    "privilegedAccessScheduleInstance",
    "privilegedAccessScheduleRequest",
    "request",
    "stsPolicy",
    "unifiedRoleManagementPolicyRule",
    "unifiedRoleScheduleBase",
    "unifiedRoleScheduleInstanceBase",
}

READERS = {
    "get_bool_value": "Edm.Boolean",
    "get_bytes_value": "Edm.Binary",
    "get_date_value": "Edm.Date",
    "get_datetime_value": "Edm.DateTimeOffset",
    "get_float_value": "Edm.Double",
    "get_int_value": "Edm.Int32",
    "get_str_value": "Edm.String",
    "get_time_value": "Edm.TimeOfDay",
    "get_timedelta_value": "Edm.Duration",
    "get_uuid_value": "Edm.Guid",
}
PRIMITIVES = {"str": "Edm.String", "int": "Edm.Int32", "bool": "Edm.Boolean", "UUID": "Edm.Guid"}
LONG = {
    "freeStorageSpaceInBytes",
    "physicalMemoryInBytes",
    "totalStorageSpaceInBytes",
}  # 64 bits, as their name implies
FIELD = re.compile(r'"(\w+)": lambda n : setattr\(self, \'\w+\', n\.(\w+)\(((?:\w+))?\)\)')


def snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def small(name: str) -> str:
    return name[0].lower() + name[1:]


class Cut:
    """The closure of one version; `known` are names that are declared elsewhere."""

    def __init__(self, package: str, known: set[str]) -> None:
        self._package = f"{package}.generated.models"
        self._known = known
        self.types: dict[str, dict[str, Any]] = {}
        self.enums: dict[str, dict[str, Any]] = {}

    def take(self, name: str) -> None:
        """`name` is such as authorizationPolicy; what the version lacks is passed over."""
        if GRAPH + name in self._known or name in self.types or name in self.enums:
            return
        found = self._class(name)
        if found is None:
            sys.stderr.write(f"{self._package} has no {name}\n")
            return
        if issubclass(found, Enum):
            members = {str(each.value): at for at, each in enumerate(found)}
            self.enums[name] = {"members": members}
            return
        self._take_type(name, found)

    def _class(self, name: str) -> Any:
        try:
            module = importlib.import_module(f"{self._package}.{snake(name)}")
        except ModuleNotFoundError:
            return None
        return getattr(module, name[0].upper() + name[1:])

    def _take_type(self, name: str, found: Any) -> None:
        base = next((small(each.__name__) for each in found.__bases__ if hasattr(each, "get_field_deserializers")), "")
        base = "" if base in ("additionalDataHolder", "backedModel", "parsable") else base
        line: dict[str, Any] = {"kind": "complex", "open": True}
        self.types[name] = line
        if base:
            self.take(base)
            line["base"] = GRAPH + base
        if self._is_entity(found):
            line["kind"] = "entity"
        if name in ABSTRACT:
            line["abstract"] = True
        navigation = NAVIGATION.get(name, {})
        fields = FIELD.findall(getsource(found.get_field_deserializers))
        kept = [each for each in fields if each[0] not in {*navigation, *LEFT_OUT, "@odata.type"}]
        line["props"] = {field: self._type(field, reader, of) for field, reader, of in sorted(kept)}
        if navigation:
            line["nav"] = {each: GRAPH + target for each, target in sorted(navigation.items())}
            for target in navigation.values():
                self.take(target)

    def _is_entity(self, found: Any) -> bool:
        return any(each.__name__ == "Entity" for each in found.__mro__)

    def _type(self, field: str, reader: str, of: str) -> str:
        if reader in READERS:
            return "Edm.Int64" if field in LONG else READERS[reader]
        many = reader.startswith("get_collection_of_")
        if reader == "get_collection_of_primitive_values":
            return f"Collection({PRIMITIVES[of]})"
        name = small(of)
        self.take(name)
        return f"Collection({GRAPH}{name})" if many else GRAPH + name


def known(version: str) -> set[str]:
    """What is declared for a version by the cut of the surface and by hand."""
    surface = json.loads((HERE / f"{version}.json").read_text(encoding="utf-8"))
    hand = json.loads((HERE / "additions.json").read_text(encoding="utf-8"))
    names = {*surface["types"], *surface["enums"]}
    for part in ("types", "enums"):
        names.update(each["name"] for each in hand[part] if version in each["versions"])
    return names


def main() -> None:
    cuts: dict[str, Cut] = {}
    for version, package in PACKAGES.items():
        cuts[version] = Cut(package, known(version))
        for name in ROOTS:
            cuts[version].take(name)
    parts: list[str] = []
    for part in ("types", "enums"):
        lines: list[str] = []
        for name in sorted({name for cut in cuts.values() for name in getattr(cut, part)}):
            facts = {version: getattr(cut, part).get(name) for version, cut in cuts.items()}
            same = facts["v1.0"] == facts["beta"]
            for versions in (["v1.0", "beta"],) if same else (["v1.0"], ["beta"]):
                fact = facts[versions[0]]
                if fact is not None:
                    lines.append(f"  {json.dumps({'name': GRAPH + name, 'versions': versions, **fact})}")
        parts.append(f' "{part}": [\n' + ",\n".join(lines) + "\n ]")
    OUT.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
