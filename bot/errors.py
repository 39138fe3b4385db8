"""Failures, named by who can act on them. No message of theirs is ever shown in a chat."""

from __future__ import annotations


class ThreadkeeperError(Exception):
    """The root of what we raise on purpose."""


# -- the sender of a request can act ------------------------------------------------------------------------


class BadRequest(ThreadkeeperError):
    """A request that is refused: `status` is 400, 401, 403, 413 or 415, `reason` says what to do."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


# -- an operator can act ------------------------------------------------------------------------------------


class SettingsError(ThreadkeeperError):
    """The environment cannot be used; `problems` names every variable and its cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class OperatorError(ThreadkeeperError):
    """Something that waiting will not mend: a credential, a permission, a missing agent. Turns wait for it."""

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(f"{problem} {cure}")
        self.problem = problem
        self.cure = cure


# -- time can act: the turn is taken up again ---------------------------------------------------------------


class ServiceUnavailable(ThreadkeeperError):
    """The service did not answer, or answered that it cannot now. Nothing is known of the request's effect."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServiceBusy(ServiceUnavailable):
    """The service refused before doing anything (429): the same request may be sent again."""


class DeliveryFailed(ServiceUnavailable):
    """The channel did not take the delivery; `sent` says whether it may have been shown all the same."""

    def __init__(self, message: str, retry_after: float | None = None, *, sent: bool = False) -> None:
        super().__init__(message, retry_after)
        self.sent = sent


# -- the turn itself acts -----------------------------------------------------------------------------------


class ThreadGone(ThreadkeeperError):
    """The agent is there but the thread is not."""


class RunGone(ThreadkeeperError):
    """The thread is there but the run is not."""


class RunActive(ThreadkeeperError):
    """The thread has a run that has not ended; nothing was added to it."""


CONTEXT_TOO_LONG = "context_too_long"
"""The code of a request, or a run, that failed because the thread is longer than the model can read."""


class RequestRefused(ThreadkeeperError):
    """The service will never accept this request. `code` is its own word."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class RunFailed(ThreadkeeperError):
    """The run ended without an answer and is not tried again. `code` is the service's word."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ContentFiltered(RunFailed):
    """The content filter stopped it; rephrasing helps, retrying does not."""


class DeadlinePassed(ThreadkeeperError):
    """The run took longer than it may, or asked for too many rounds of tools."""


class DeliveryRefused(ThreadkeeperError):
    """The channel will never take this delivery: the conversation or the app is gone from it."""


class TooLarge(DeliveryRefused):
    """What was to be fetched has more bytes than are taken."""


class NotSaid(ThreadkeeperError):
    """Words to a person are not taken. `code` is for programs, the text for who asked."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class AwaitsApproval(ThreadkeeperError):
    """A tool call waits for a person's word, whose question has been sent: give the turn back until then."""

    def __init__(self, approval: str) -> None:
        super().__init__("waits for an approval")
        self.approval = approval


class LostLease(ThreadkeeperError):
    """Another process owns the turn now: stop, write nothing."""


class Interrupted(ThreadkeeperError):
    """Someone said stop, or the generation rose: end the run, say nothing of the answer."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
