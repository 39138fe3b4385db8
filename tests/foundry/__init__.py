"""A local Foundry for tests and demonstrations: the server, its clock, scripted models, injected faults."""

from .clock import Clock, ManualClock, RealClock
from .faults import Fault
from .models import MODELS, Script, default, echo, recall, summariser, tool_user
from .records import Recorded
from .runner import Rules
from .server import FoundryServer
from .sight import OPENING, Act, Answer, Call, Calls, Failure, Incomplete, Model, Said, Sight, Usage, image, picture
from .switches import Switches

__all__ = [
    "MODELS",
    "OPENING",
    "Act",
    "Answer",
    "Call",
    "Calls",
    "Clock",
    "Failure",
    "Fault",
    "FoundryServer",
    "Incomplete",
    "ManualClock",
    "Model",
    "RealClock",
    "Recorded",
    "Rules",
    "Said",
    "Script",
    "Sight",
    "Switches",
    "Usage",
    "default",
    "echo",
    "image",
    "picture",
    "recall",
    "summariser",
    "tool_user",
]
