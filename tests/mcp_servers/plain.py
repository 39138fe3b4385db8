"""A server over stdio without any package: the protocol of 2025-06-18 by hand, and what goes wrong on purpose.

It logs what it is told, a line each, into the file named by NOTES.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

Answer = dict[str, Any]

_writing = threading.Lock()
_three = threading.Barrier(int(os.environ.get("MEET", "3")))
_answers: dict[str, Answer] = {}
_answered = threading.Condition()


def note(text: str) -> None:
    if "NOTES" in os.environ:
        with Path(os.environ["NOTES"]).open("a") as notes:
            notes.write(text + "\n")


def send(message: Answer) -> None:
    line = json.dumps({"jsonrpc": "2.0", **message}) + "\n"
    with _writing:
        sys.stdout.write(line)
        sys.stdout.flush()


def tool(name: str, *, required: bool = True, hints: Answer | None = None, **properties: str) -> Answer:
    made: Answer = {
        "name": name,
        "description": f"Tool {name}.",
        "inputSchema": {
            "type": "object",
            "properties": {key: {"type": kind} for key, kind in properties.items()},
            "required": list(properties) if required else [],
            "additionalProperties": False,
        },
    }
    return made | ({"annotations": hints} if hints else {})


TOOLS = [
    tool("echo", text="string", hints={"readOnlyHint": True}),
    tool("breaks"),
    tool("hangs"),
    tool("meets", number="integer"),
    tool("says_no"),
    tool("shows"),
    tool("data"),
    tool("nothing"),
    tool("long"),
    tool("meta"),
    tool("variable", key="string"),
    tool("asks"),
    tool("asks_more"),
    tool("samples"),
    tool("dies"),
    tool("child"),
    tool("floods"),
    tool("babbles"),
    tool("grows"),
    tool("sets", value="string", required=False, hints={"idempotentHint": True}),
    tool("pid"),
]
"""Sorted by nothing, so that whoever lists them must do so."""


def text(words: str, **more: Any) -> Answer:
    return {"content": [{"type": "text", "text": words}], **more}


def shown() -> Answer:
    blob = {"uri": "file:///report.pdf", "mimeType": "application/pdf", "blob": "QUJDREVG"}
    return {
        "content": [
            {"type": "text", "text": "Here:"},
            {"type": "image", "data": "A" * 16384, "mimeType": "image/png"},
            {"type": "audio", "data": "QUJD", "mimeType": "audio/x-wav"},
            {"type": "resource", "resource": {"uri": "note://1", "mimeType": "text/plain", "text": "a note"}},
            {"type": "resource", "resource": blob},
            {"type": "resource_link", "name": "More", "uri": "https://example.com/more"},
        ]
    }


def asked(method: str, params: Answer) -> Answer:
    """Ask the client, and wait for its answer."""
    send({"id": method, "method": method, "params": params})
    with _answered:
        _answered.wait_for(lambda: method in _answers, timeout=20)
        return _answers.pop(method)


def child() -> Answer:
    """Start a process that outlives this one where nobody ends the whole group."""
    command = [
        sys.executable,
        "-c",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
    ]
    return text(str(subprocess.Popen(command).pid))


def flooded() -> Answer:
    for _ in range(64):
        sys.stderr.write("hunter2 " * 8192)
    sys.stderr.flush()
    return text("flooded")


def grown() -> Answer:
    TOOLS.append(tool("added"))
    TOOLS[:] = [one for one in TOOLS if one["name"] != "nothing"]
    send({"method": "notifications/tools/list_changed"})
    return text("grown")


def babbled() -> Answer:
    with _writing:
        sys.stdout.write('hunter2 is no JSON\n{"jsonrpc": "2.0"}\n[]\n{"jsonrpc": "2.0", "id": 999, "result": {}}\n\n')
        sys.stdout.flush()
    send({"method": "notifications/hunter2", "params": {"x": 1}})
    return text("babbled")


def die() -> Answer:
    os._exit(3)


def hang() -> Answer:
    time.sleep(600)
    return {}


def met(number: int) -> Answer:
    _three.wait(20)
    return text(str(number))


def elicited() -> Answer:
    schema = {"type": "object", "properties": {"sure": {"type": "boolean"}}}
    answer = asked("elicitation/create", {"message": "Really delete\n everything?", "requestedSchema": schema})
    return text(f"deleted: {answer['result']['action']}")


def elicited_more() -> Answer:
    schema = {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]}
    answer = asked("elicitation/create", {"message": "Why?", "requestedSchema": schema})
    return text(f"deleted: {answer['result']['action']}")


def sampled() -> Answer:
    answer = asked("sampling/createMessage", {"messages": [], "maxTokens": 1})
    return text("refused" if "error" in answer else "sampled")


CALLS: dict[str, Any] = {
    "echo": lambda text: {"content": [{"type": "text", "text": text}]},
    "hangs": hang,
    "meets": met,
    "says_no": lambda: text("Ticket 7 is closed.", isError=True),
    "shows": shown,
    "data": lambda: {"content": [], "structuredContent": {"open": 3}},
    "nothing": lambda: {"content": []},
    "long": lambda: text("word " * 20_000),
    "variable": lambda key: text(os.environ.get(key, "unset")),
    "asks": elicited,
    "asks_more": elicited_more,
    "samples": sampled,
    "dies": die,
    "child": child,
    "floods": flooded,
    "babbles": babbled,
    "grows": grown,
    "added": lambda: text("I am new."),
    "sets": lambda value="none": text(value),
    "pid": lambda: text(str(os.getpid())),
}


def call(number: object, params: Answer) -> None:
    name = params["name"]
    if name == "breaks":
        send({"id": number, "error": {"code": -32603, "message": "hunter2"}})
    elif name == "meta":
        send({"id": number, "result": text(json.dumps(params.get("_meta")))})
    else:
        send({"id": number, "result": CALLS[name](**params.get("arguments", {}))})


def handle(message: Answer) -> None:
    method, number, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method is None:
        with _answered:
            _answers[str(number)] = message
            _answered.notify_all()
    elif method == "initialize":
        info = {"name": "plain", "version": "1"}
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}}, "serverInfo": info}
        note("capabilities " + json.dumps(sorted(params["capabilities"])))
        send({"id": number, "result": result})
    elif method == "tools/list":
        note("listed")
        page = int(params.get("cursor", 0))
        more = {"nextCursor": str(page + 8)} if page + 8 < len(TOOLS) else {}
        send({"id": number, "result": {"tools": TOOLS[page : page + 8], **more}})
    elif method == "tools/call":
        threading.Thread(target=call, args=(number, params), daemon=True).start()
    elif method == "notifications/cancelled":
        note("cancelled")
    elif number is not None:
        send({"id": number, "error": {"code": -32601, "message": "Method not found"}})


def main(way: str = "") -> None:
    note(f"started {os.getpid()} in {Path.cwd().name}")
    if way == "fails":
        sys.exit(2)
    if way == "mute":
        time.sleep(600)
    if way == "nonsense":
        print("hunter2 " * 100, flush=True)
        while sys.stdin.readline():
            print('{"hunter2": true}', flush=True)
        return
    if way == "stays":  # neither the end of its input nor a signal ends it
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        handle(json.loads(line))
    if way == "stays":
        time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
