"""Every error the host can say out loud, as one tree.

    TenureError                 code, title, http_status, retryable (after `retry_after_s`); `detail` is for the caller
    ├── UsageError              the caller's input is wrong (400 family)
    │   ├── Unauthorized 401, Forbidden 403, NotFound 404, MethodNotAllowed 405, RequestTimeout 408, Conflict 409
    │   ├── TooLarge 413, IdempotencyKeyReused 422, BundleError 422, ActorFailed 422, QuotaReached 422
    │   ├── TooManyRequests 429
    ├── HostError               the host could not do it (500 family)
    │   ├── Unavailable 503, StorageBroken 503
    └── GuestError              the tenant's code failed; `name` is what a guest reads as `err.name`
        ├── HandlerError 500, HandlerTimeout 504, HandlerCrashed 503, HandlerReplyError 502
        └── ActorError          crosses stub calls; `cause` is the name of what the method threw

An error's `detail` never holds anything of the host's own (paths, Python traces): it is safe to show to any caller.
Several mistakes at once are one error with several `details`.
"""

from __future__ import annotations

from collections.abc import Sequence


class TenureError(Exception):
    """Base of all errors that reach a caller. `detail` is a sentence that says what is wrong and what to do."""

    code = "internal_error"
    title = "Internal error"
    http_status = 500
    retryable = False
    retry_after_s = 1.0

    def __init__(self, detail: str, *, details: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.details: tuple[str, ...] = tuple(details) or (detail,)


class UsageError(TenureError):
    code, title, http_status = "bad_request", "Bad request", 400


class Unauthorized(UsageError):
    code, title, http_status = "unauthorized", "Unauthorized", 401


class Forbidden(UsageError):
    code, title, http_status = "forbidden", "Forbidden", 403


class NotFound(UsageError):
    code, title, http_status = "not_found", "Not found", 404


class MethodNotAllowed(UsageError):
    code, title, http_status = "method_not_allowed", "Method not allowed", 405


class RequestTimeout(UsageError):
    code, title, http_status = "request_timeout", "Request timeout", 408


class Conflict(UsageError):
    code, title, http_status = "conflict", "Conflict", 409


class TooManyAttempts(UsageError):
    code, title, http_status, retryable = "too_many_attempts", "Too many attempts", 429, True


class TooLarge(UsageError):
    code, title, http_status = "too_large", "Too large", 413


class IdempotencyKeyReused(UsageError):
    """An idempotency key that belongs to another request."""

    code, title, http_status = "idempotency_key_reused", "Idempotency key reused", 422


class BundleError(UsageError):
    """A bundle that cannot become a version: `details` names every mistake that was found."""

    code, title, http_status = "invalid_bundle", "Invalid bundle", 422


class ManifestError(BundleError):
    code, title = "invalid_manifest", "Invalid manifest"


class ActorFailed(UsageError):
    """A call of an actor, made through the admin API, ended with an error of the actor's: `title` is its name."""

    code, title, http_status = "actor_failed", "Actor failed", 422

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.title = name


class QuotaReached(UsageError):
    """The tenant has as many as its quota lets it have."""

    code, title, http_status = "quota_reached", "Quota reached", 422


class TooManyRequests(UsageError):
    """A quota of something in a time is used up; `retry_after_s` is when there will be more."""

    code, title, http_status, retryable = "too_many_requests", "Too many requests", 429, True

    def __init__(self, detail: str, *, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class HostError(TenureError):
    pass


class Unavailable(HostError):
    code, title, http_status, retryable = "unavailable", "Unavailable", 503, True


class StorageBroken(HostError):
    """A sync failed: what is on disk is unknown, so nothing more is acknowledged until a restart."""

    code, title, http_status, retryable = "storage_broken", "Storage broken", 503, True


class GuestError(TenureError):
    """The tenant's code failed or was stopped. `name` is the error's name as a guest sees it."""

    code, title, http_status = "guest_error", "Function error", 500

    def __init__(self, detail: str, *, name: str = "", cause: str = "", stack: str = "") -> None:
        super().__init__(detail)
        self.name = name or type(self).__name__
        self.cause = cause
        self.stack = stack


class HandlerError(GuestError):
    """The handler threw. The message goes to the function's log only."""

    code, title, http_status = "function_error", "The function failed", 500


class HandlerTimeout(GuestError):
    code, title, http_status = "function_timeout", "The function took too long", 504


class HandlerCrashed(GuestError):
    code, title, http_status = "function_crashed", "The function was stopped", 503


class HandlerReplyError(GuestError):
    code, title, http_status = "bad_function_reply", "The function's reply cannot be sent", 502


class ActorError(GuestError):
    code, title, http_status = "actor_error", "Actor error", 500


class ActorMethodError(ActorError):
    """The method threw: its message is kept, `cause` is the thrown error's name."""


class ActorPrivateMethodError(ActorError):
    pass


class ActorUnknownMethodError(ActorError):
    pass


class ActorTypeNotFoundError(ActorError):
    pass


class ActorMethodTimeoutError(ActorError):
    http_status = 504


class ActorFetchTimeoutError(ActorError):
    http_status = 504


class BlockConcurrencyTimeoutError(ActorError):
    http_status = 504


class ActorOutputGateError(ActorError):
    http_status, retryable = 503, True


class ActorOverloadedError(ActorError):
    http_status, retryable = 503, True

    def __init__(
        self, detail: str, *, name: str = "", cause: str = "", stack: str = "", retry_after_s: float = 1.0
    ) -> None:
        super().__init__(detail, name=name, cause=cause, stack=stack)
        self.retry_after_s = retry_after_s


class ActorDeadlockError(ActorError):
    pass


class ActorCrashedError(ActorError):
    http_status, retryable = 503, True


class CodecError(ActorError):
    pass


class QuotaExceededError(ActorError):
    http_status = 507


ACTOR_ERRORS: dict[str, type[ActorError]] = {
    kind.__name__: kind
    for kind in (
        ActorMethodError,
        ActorPrivateMethodError,
        ActorUnknownMethodError,
        ActorTypeNotFoundError,
        ActorMethodTimeoutError,
        ActorFetchTimeoutError,
        BlockConcurrencyTimeoutError,
        ActorOutputGateError,
        ActorOverloadedError,
        ActorDeadlockError,
        ActorCrashedError,
        CodecError,
        QuotaExceededError,
    )
}
"""By the name a guest sees. These keep their name when a method or a handler lets one pass through."""
