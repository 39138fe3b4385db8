"""What always holds. Each has an id; a test that shows it carries `@pytest.mark.invariant(id)`."""

from __future__ import annotations

INVARIANTS = {
    "I1": "A message answered with 2xx is on disk, whatever is killed, whenever.",
    "I2": "A message delivered twice, or ten times, or at two replicas, is one turn.",
    "I3": "Turns of a lane run one at a time and in order; other lanes do not wait for them.",
    "I4": "After a crash a turn goes on from its last saved step; what the service did is found, not done again.",
    "I5": "Every turn ends in something the person sees: an answer, or an apology with its reference.",
    "I6": "One visible answer once the delivered id is saved; at least one between the send and the save.",
    "I7": "After a start over nothing of the older generation is shown or written, from any replica.",
    "I8": "A run is never abandoned: it is cancelled or handed over, and the thread stays usable.",
    "I9": "Every tool call gets exactly one output by its id; a once tool that may have run is not run again.",
    "I10": "One person's words never reach another person's thread; in a group the key is explicit.",
    "I11": "Nobody unverified is listened to, and the bot's token goes to allow-listed hosts only.",
    "I12": "A rollover lets nothing go before the new thread is saved; what was carried is recorded.",
    "I13": "A secret, a token or a pre-signed address never reaches a log, the database or an error.",
    "I14": "Memory does not grow with the number of conversations ever seen.",
    "I15": "Inbox rows and saved steps forget what people wrote when the turn ends; an apology keeps it for 24 h.",
    "I16": "A failure that only an operator can mend uses up no attempt; /readyz and one log line name the cure.",
}

LATER: dict[str, str] = {}
"""Those that no test shows yet, and why."""
