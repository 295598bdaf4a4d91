"""The process that plays the sample organisation against a server: `python -m bartizan.demo CREDENTIALS DAYS`."""

import asyncio
import json
import os
import ssl
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import structlog

from bartizan.demo.feed import Life, Refused, Server, fill
from bartizan.demo.organisation import Organisation

START_S = 120
_PAUSE_S = 5

_SHOWN = """
  address        {address}
  tenant         {tenantId}
  client id      {clientId}
  client secret  {clientSecret}
  analyst        {user}  password {password}
  authority      {ca}

Leave this running. In another terminal:

  export GRAPH_ADDRESS={address}
  export AZURE_TENANT_ID={tenantId}
  export AZURE_CLIENT_ID={clientId}
  export AZURE_CLIENT_SECRET={clientSecret}
  export SSL_CERT_FILE={ca} REQUESTS_CA_BUNDLE={ca}

  token=$(curl -s --cacert "$SSL_CERT_FILE" "$GRAPH_ADDRESS/$AZURE_TENANT_ID/oauth2/v2.0/token" \\
    -d grant_type=client_credentials -d client_id="$AZURE_CLIENT_ID" \\
    -d client_secret="$AZURE_CLIENT_SECRET" -d scope=https://graph.microsoft.com/.default |
    python3 -c 'import json,sys; print(json.load(sys.stdin)["access_token"])')
  curl -s --cacert "$SSL_CERT_FILE" -H "Authorization: Bearer $token" \\
    "$GRAPH_ADDRESS/v1.0/security/incidents?\\$expand=alerts" | python3 -m json.tool

Alerts come in every minute or two. An attack begins in a minute, unfolds over five, and the server
makes an incident of it that grows; another one follows every half hour.
README.md has the same with Microsoft's SDK; {address}/openapi/ shows every operation.
Ctrl-C stops it; started again, it goes on with the same data and credentials.
"""


async def _play(known: dict[str, str], days: int) -> None:
    context = ssl.create_default_context(cafile=known["ca"])
    organisation = Organisation()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        await _ready(session, known["address"])
        server = Server(session, known["address"], known["tenantId"], known["clientId"], known["clientSecret"])
        _say("Filling in the sample organisation ...")
        filled = False
        while True:
            try:
                if not filled:
                    await fill(server, organisation, datetime.now(UTC), days=days)
                    filled = True
                    _say(_SHOWN.format(**known))
                await Life(server, organisation).run()
            except (Refused, aiohttp.ClientError) as problem:  # a restart of the server is no reason to end
                structlog.get_logger(__name__).warning("demo.feed", problem=str(problem))
                await asyncio.sleep(_PAUSE_S)


async def _ready(session: aiohttp.ClientSession, address: str) -> None:
    for _ in range(START_S * 5):
        try:
            async with session.get(f"{address}/healthz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass  # not up yet
        await asyncio.sleep(0.2)
    raise SystemExit(f"{address} did not answer within {START_S} s")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _until_orphaned() -> None:
    """Ends with the server: it holds the other end of our standard input."""
    while os.read(0, 4096):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    os._exit(0)


def main() -> None:
    path, days = sys.argv[1:3]
    threading.Thread(target=_until_orphaned, daemon=True).start()
    asyncio.run(_play(json.loads(Path(path).read_text()), int(days)))


if __name__ == "__main__":
    main()
