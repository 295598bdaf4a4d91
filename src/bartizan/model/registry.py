"""The words of the Windows registry as the legacy alert has them: registryHive and registryValueType.

Source: Microsoft Graph, resource registryKeyState.
"""

from typing import Any

_HIVE_PARTS = {
    "sam": "localMachineSam",
    "security": "localMachineSecurity",
    "software": "localMachineSoftware",
    "system": "localMachineSystem",
}
_VALUE_TYPES = {
    "binary": "binary",
    "dword": "dword",
    "dwordlittleendian": "dwordLittleEndian",
    "dwordbigendian": "dwordBigEndian",
    "expandsz": "expandSz",
    "expandstring": "expandSz",
    "link": "link",
    "multisz": "multiSz",
    "multistring": "multiSz",
    "none": "none",
    "qword": "qword",
    "qwordlittleendian": "qwordlittleEndian",
    "sz": "sz",
    "string": "sz",
}


def hive(name: Any, key: Any) -> str | None:
    """The member of registryHive for HKEY_... and the key's first part; None where none fits."""
    text = str(name or "").upper()
    if text in ("HKEY_LOCAL_MACHINE", "HKLM"):
        return _HIVE_PARTS.get(str(key or "").strip("\\").partition("\\")[0].lower(), "unknown")
    if text in ("HKEY_CURRENT_USER", "HKCU"):
        return "currentUser"
    if text in ("HKEY_CURRENT_CONFIG", "HKCC"):
        return "currentConfig"
    if text in ("HKEY_USERS", "HKU"):
        return "usersDefault" if str(key or "").strip("\\").lower().startswith(".default") else "unknown"
    return "unknown" if text else None


def value_type(name: Any) -> str | None:
    """The member of registryValueType for REG_SZ and its like; None where nothing is said."""
    kind = str(name or "").lower().removeprefix("reg_").replace("_", "")
    return _VALUE_TYPES.get(kind, "unknown") if kind else None
