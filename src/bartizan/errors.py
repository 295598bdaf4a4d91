"""Every error that a caller can act on, with its HTTP status and its Graph code.

    BartizanError
    ├── BadRequest 400 BadRequest            what was wrong and what would be right
    │   ├── InvalidQuery 400 BadRequest      a query option that cannot be read or is not supported
    │   └── UnsupportedQuery 400 Request_UnsupportedQuery   needs ConsistencyLevel: eventual and $count=true
    ├── Unauthenticated 401 InvalidAuthenticationToken
    ├── Forbidden 403 Forbidden
    ├── NotFound 404 ResourceNotFound
    ├── MethodNotAllowed 405 MethodNotAllowed
    ├── NotAcceptable 406 NotAcceptable
    ├── Conflict 409 Conflict
    ├── Gone 410 resyncRequired
    ├── PreconditionFailed 412 PreconditionFailed
    ├── TooLarge 413 RequestEntityTooLarge
    ├── UnsupportedMediaType 415 UnsupportedMediaType
    ├── FailedDependency 424 FailedDependency        only inside a $batch
    ├── TooManyRequests 429 TooManyRequests          carries Retry-After
    ├── NotServed 501 NotImplemented                 a known operation that we do not serve, and why
    ├── Unperformed 502 BadGateway           a system outside was asked to act and did not, and why
    ├── Unavailable 503 ServiceUnavailable           for the moment; carries Retry-After
    ├── Timeout 504 GatewayTimeout                   a bound on time was reached
    └── StorageFull 507 InsufficientStorage

Source: reference of Microsoft Graph errors, "Microsoft Graph error responses and resource types".
"""

from collections.abc import Mapping


class BartizanError(Exception):
    """`message` says what was wrong and what would be right; it never holds a secret."""

    status = 500
    code = "generalException"

    def __init__(self, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.headers: Mapping[str, str] = headers or {}


class BadRequest(BartizanError):
    status = 400
    code = "BadRequest"


class InvalidQuery(BadRequest):
    pass


class UnsupportedQuery(BadRequest):
    code = "Request_UnsupportedQuery"


class Unauthenticated(BartizanError):
    status = 401
    code = "InvalidAuthenticationToken"


class Forbidden(BartizanError):
    status = 403
    code = "Forbidden"


class NotFound(BartizanError):
    status = 404
    code = "ResourceNotFound"


class MethodNotAllowed(BartizanError):
    status = 405
    code = "MethodNotAllowed"


class NotAcceptable(BartizanError):
    status = 406
    code = "NotAcceptable"


class Conflict(BartizanError):
    status = 409
    code = "Conflict"


class Gone(BartizanError):
    status = 410
    code = "resyncRequired"


class PreconditionFailed(BartizanError):
    status = 412
    code = "PreconditionFailed"


class TooLarge(BartizanError):
    status = 413
    code = "RequestEntityTooLarge"


class UnsupportedMediaType(BartizanError):
    status = 415
    code = "UnsupportedMediaType"


class FailedDependency(BartizanError):
    status = 424
    code = "FailedDependency"


class _Later(BartizanError):
    def __init__(self, message: str, *, retry_after_s: int = 1, code: str | None = None) -> None:
        super().__init__(message, code=code, headers={"Retry-After": str(retry_after_s)})
        self.retry_after_s = retry_after_s


class TooManyRequests(_Later):
    status = 429
    code = "TooManyRequests"


class NotServed(BartizanError):
    status = 501
    code = "NotImplemented"


class Unperformed(BartizanError):
    status = 502
    code = "BadGateway"


class Unavailable(_Later):
    status = 503
    code = "ServiceUnavailable"


class Timeout(BartizanError):
    status = 504
    code = "GatewayTimeout"


class StorageFull(BartizanError):
    status = 507
    code = "InsufficientStorage"


# What the directory's own service calls some of them: clients of users, groups and devices compare with these.
OF_DIRECTORY: Mapping[str, str] = {
    "Forbidden": "Authorization_RequestDenied",
    "ResourceNotFound": "Request_ResourceNotFound",
}
