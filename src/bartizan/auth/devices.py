"""Where people approve a device: the code that it shows, and what it may do.

Source: RFC 8628, sections 3.3 and 5 (phishing, brute force of user codes).
"""

from starlette.requests import Request
from starlette.responses import Response

from bartizan.auth import aadsts, audit, pages
from bartizan.auth.aadsts import OAuthError
from bartizan.auth.accounts import App, User
from bartizan.auth.authority import SELF_SCOPES
from bartizan.auth.flow import Flow, client_address, failure, read_fields, returned
from bartizan.auth.grants import Grant
from bartizan.auth.signin import SignIn
from bartizan.auth.verify import epochs


class Devices:
    def __init__(self, steps: SignIn) -> None:
        self.authority = steps.authority
        self._steps = steps

    async def device_page(self, request: Request) -> Response:
        """GET shows the field, POST takes the code. Guessing codes is throttled like guessing passwords."""
        if request.method == "GET":
            return pages.device_code(code=request.query_params.get("user_code", "")[:20])
        address = client_address(request)
        account = f"device code from {address}"
        try:
            form = await read_fields(request)
            async with self.authority.throttle.attempt(account, address, known=False):
                device = await self.authority.grants.device(form.get("user_code")[:50])
                if device is None:
                    raise aadsts.device_unknown()
        except OAuthError as error:
            headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
            text = (
                error.text()
                if error.retry_after_s
                else "AADSTS70018: The code is not known or has expired. Check it and try again."
            )
            return pages.device_code(error=text, status=error.status, headers=headers)
        flow = Flow(
            kind="device",
            tenant=device.grant.tenant or "common",
            app=device.grant.app,
            scope=" ".join((*device.grant.scopes, *device.grant.oidc)),
            resource=device.grant.resource if not device.grant.scopes else "",
            user_code=device.user_code,
        )
        try:
            return await self._steps.go_on(request, flow, await self._steps.user(request, flow))
        except OAuthError as error:
            return failure(error)

    async def answer_device(self, request: Request) -> Response:
        """POST of the approval page."""
        authority = self.authority
        try:
            form, flow = await returned(self.authority, request)
            who = await self._steps.user(request, flow)
            if who is None:
                return await self._steps.go_on(request, flow, None)
            grant = await self._device_grant(request, flow, who) if form.get("decision") == "accept" else None
            if not await authority.grants.answer_device(flow.user_code, grant):
                raise aadsts.device_expired()
        except OAuthError as error:
            return failure(error)
        if grant is None:
            return pages.notice("Declined", "The device was not signed in. You can close this page.")
        return pages.notice("Approved", "You are signed in on your device. You can close this page.")

    async def _device_grant(self, request: Request, flow: Flow, who: tuple[User, int]) -> Grant:
        """The grant, after consenting to what the page said was not granted before."""
        authority, (user, auth_time) = self.authority, who
        app = await authority.accounts.get(App, flow.app)
        if app is None:
            raise aadsts.unknown_app(flow.app, flow.tenant)
        tenant = await self._steps.tenant_of(flow, user, app)
        await authority.account(user.id, tenant.id)
        resource, scope = authority.wanted(flow.scope, flow.resource, app)
        missing = await authority.missing_scopes(scope, tenant.id, app, user.id)
        actor = audit.Actor(app=app.id, app_name=app.name, user=user.id, upn=user.upn, name=user.name)
        address = client_address(request)
        if missing:
            if "SecurityAdministrator" not in user.roles[tenant.id] and not missing <= SELF_SCOPES:
                raise aadsts.consent_required(app.name, admin=True)
            await authority.accounts.grant(tenant.id, app.id, user.id, missing, actor=actor, address=address)
        await authority.audit(
            tenant.id,
            actor,
            "Approve device sign-in",
            targets=[audit.Target("Application", app.id, app.name)],
            address=address,
        )
        return Grant(
            tenant=tenant.id,
            app=app.id,
            user=user.id,
            resource=resource,
            scopes=await authority.granted(scope, tenant.id, app, user.id),
            oidc=scope.oidc,
            auth_time=auth_time,
            epochs=epochs(tenant, app, user),
        )
