"""What was deleted from the directory and may be restored there: users, groups, applications and others, as a directory
tells them.

Nothing here deletes from a directory or restores; an object that is told as deleted stays in its own set as well, where
nobody has told that it has gone.

Source: Microsoft Graph, resource deletedItemContainer; List deletedItems; Get deletedItem.
"""

from bartizan.api.any_object import of_any
from bartizan.extend import BOTH, Can, Resource, collection, not_yet, resource
from bartizan.model.edm import Version

_INGEST = "Bartizan.Ingest.All"
_ALL = "Directory.Read.All Directory.ReadWrite.All"
_NOBODY = not_yet("nothing performs it: connect a directory that does, this server only records what it is told")
_UNWRITABLE = {"PATCH": _NOBODY, "DELETE": _NOBODY}
_PATH = "directory/deletedItems"


def _deleted(kind: str, read: str, *, fold: str = "displayName", versions: tuple[Version, ...] = BOTH) -> Resource:
    """Deleted objects of one type, newest first."""
    type = f"microsoft.graph.{kind}"
    name = f"deleted{kind[0].upper()}{kind[1:]}s"
    return resource(
        f"{_PATH}/{type}",
        type,
        aliases={f"{_PATH}/graph.{kind}": versions},
        can=Can.READ | Can.CREATE,
        read=f"{read} {_ALL}",
        create=_INGEST,
        collection=collection(
            name, type, columns="deletedDateTime", fold=fold, order="deletedDateTime desc", versions=versions
        ),
        search="displayName",
        required="id deletedDateTime",
        versions=versions,
        throttle="directory",
        unserved=_UNWRITABLE,
    )


_SETS = (
    _deleted("user", "User.Read.All User.ReadWrite.All", fold="displayName userPrincipalName mail"),
    _deleted("group", "Group.Read.All Group.ReadWrite.All"),
    _deleted("application", "Application.Read.All Application.ReadWrite.All"),
    _deleted("servicePrincipal", "Application.Read.All Application.ReadWrite.All"),
    _deleted("administrativeUnit", "AdministrativeUnit.Read.All"),
    _deleted("device", "Device.Read.All"),
)

anything = resource(
    _PATH,
    "microsoft.graph.directoryObject",
    collection=_SETS[0].collection,  # nothing is kept under this name: each object is in the set of its type
    can=Can.GET,
    read=_ALL,
    throttle="directory",
    unserved={
        "GET": not_yet("name a type, such as directory/deletedItems/microsoft.graph.user"),
        "POST": not_yet("name a type, such as directory/deletedItems/microsoft.graph.user"),
        **_UNWRITABLE,
    },
)
anything.on_get(of_any(_SETS))
