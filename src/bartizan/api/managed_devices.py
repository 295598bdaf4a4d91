"""Devices under management, as their manager says them: owner, compliance, encryption, last contact. What a device
should do is ordered by securityActions, not here.

Source: Microsoft Graph, resource managedDevice (Intune).
"""

from typing import Any

from bartizan.api.directory import users
from bartizan.extend import Can, Context, not_yet, resource

_NOBODY = not_yet("nothing performs it: order it as a securityAction of a connection that can")

devices = resource(
    "deviceManagement/managedDevices",
    "microsoft.graph.managedDevice",
    can=Can.READ | Can.CREATE,
    read="DeviceManagementManagedDevices.Read.All DeviceManagementManagedDevices.ReadWrite.All",
    create="Bartizan.Ingest.All",
    columns=(
        "azureADDeviceId userId operatingSystem osVersion complianceState managementAgent managedDeviceOwnerType "
        "isEncrypted enrolledDateTime lastSyncDateTime serialNumber model manufacturer"
    ),
    fold="deviceName userPrincipalName emailAddress userDisplayName",
    order="deviceName",
    entities={"deviceName": "host", "userPrincipalName": "user"},
    search="deviceName",
    required="deviceName",
    max_top=1_000,
    throttle="any",
    unserved={"PATCH": _NOBODY, "DELETE": _NOBODY},
)

users.navigation("managedDevices", devices, column="userId")


@devices.prepare
def told(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    """Without what is null in an export, which says no more than an absent name, and without the code that unlocks."""
    return {name: value for name, value in given.items() if value is not None and name != "activationLockBypassCode"}
