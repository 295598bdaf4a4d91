"""Devices and programs: what a record says of them, and how browsers age."""

from random import Random

from msgspec import Struct, field

_BRANDS = {
    "windows": ("Windows NT 10.0; Win64; x64", ("Chrome", "Edge", "Edge", "Firefox")),
    "mac": ("Macintosh; Intel Mac OS X 10_15_7", ("Safari", "Chrome", "Chrome", "Firefox")),
    "linux": ("X11; Linux x86_64", ("Firefox", "Chrome")),
    "iphone": ("iPhone; CPU iPhone OS 18_{minor} like Mac OS X", ("Safari",)),
    "android": ("Linux; Android 10; K", ("Chrome", "Samsung")),
    "tablet": ("iPad; CPU OS 18_{minor} like Mac OS X", ("Safari",)),
}
_SAID = {
    "windows": "Windows", "mac": "MacOs", "linux": "Linux", "iphone": "Ios 18", "android": "Android",
    "tablet": "Ios 18",
}  # fmt: skip
_NATIVE = {
    "windows": ("Mozilla/5.0 (compatible; MSAL 1.0)", "Microsoft Outlook 16.0.{build}", "OneDriveSync"),
    "mac": ("MacOutlook/16.{minor}.0 (Intelx64 Mac OS X 15)", "Teams/24{minor} CFNetwork/1568"),
    "linux": ("Mozilla/5.0 (X11; Linux) MSAL",),
    "iphone": ("Outlook-iOS/2.0", "Teams/6.{minor} CFNetwork/1568 Darwin/24"),
    "android": ("Dalvik/2.1.0 (Linux; U; Android 14; Pixel {model})", "Outlook-Android/2.0"),
    "tablet": ("Outlook-iOS/2.0",),
}  # fmt: skip
TOOLS = ("python-httpx/0.27.0", "axios/1.7.2", "curl/8.9.1", "Go-http-client/2.0", "Dart/3.4 (dart:io)")


class Kit(Struct):
    """A device. `lag` is by how many versions its browser is behind."""

    make: str
    browser: str
    id: str = ""  # of its registration
    managed: bool = False
    lag: int = 0
    build: int = 0
    sessions: dict[str, tuple[str, float]] = field(default_factory=dict)  # by program -> id, until when

    def agent(self, week: int) -> str:
        shape, _ = _BRANDS[self.make]
        system = shape.format(minor=week // 5 % 6)
        version = 126 + week // 4 - self.lag
        if self.browser == "Firefox":
            return f"Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
        if self.browser == "Safari":
            mobile = " Mobile/15E148" if self.make != "mac" else ""
            return (
                f"Mozilla/5.0 ({system}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.{week // 5 % 6}{mobile} "
                "Safari/605.1.15"
            )
        tail = {"Edge": f" Edg/{version}.0.0.0", "Samsung": " SamsungBrowser/27.0"}.get(self.browser, "")
        mobile = " Mobile" if self.make == "android" else ""
        return (
            f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0{mobile} "
            f"Safari/537.36{tail}"
        )

    def said(self, week: int) -> str:
        version = 126 + week // 4 - self.lag
        return {"Safari": f"Safari 18.{week // 5 % 6}"}.get(self.browser, f"{self.browser} {version}.0.0")

    def native(self, chance: Random, week: int) -> str:
        shape = chance.choice(_NATIVE[self.make])
        return shape.format(build=17_000 + self.build + week // 4, minor=70 + week // 4, model=6 + self.build % 4)

    @property
    def system(self) -> str:
        return _SAID[self.make]


def made(chance: Random, make: str, *, id: str = "", managed: bool = False) -> Kit:
    browser = chance.choice(_BRANDS[make][1])
    lag = chance.choice((0, 0, 0, 1, 2, 6))
    return Kit(make, browser, id, managed, lag, chance.randrange(1_000))
