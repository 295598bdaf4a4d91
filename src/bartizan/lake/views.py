"""Tables that show the rows of another under the names of another product: rows are stored once.

Source: Microsoft Defender XDR, "EntraIdSignInEvents" and "EntraIdSpnSignInEvents" (which replace AADSignInEventsBeta
and AADSpnSignInEventsBeta; EntraIdDeviceId was AadDeviceId).
"""

from collections.abc import Mapping

from msgspec import Struct

from bartizan.lake.tables import Table


class View(Struct, frozen=True):
    """`renamed`: column of the view -> column of the table `of`; all others keep their names."""

    of: str
    renamed: Mapping[str, str] = {}

    def columns(self, of: Table) -> dict[str, str]:
        """Every column of the view -> that of its table, in the table's order."""
        names = {stored: column for column, stored in self.renamed.items()}
        return {names.get(column, column): column for column in of.columns}


VIEWS: Mapping[str, View] = {
    "AADSignInEventsBeta": View("EntraIdSignInEvents", {"AadDeviceId": "EntraIdDeviceId"}),
    "AADSpnSignInEventsBeta": View("EntraIdSpnSignInEvents"),
}
