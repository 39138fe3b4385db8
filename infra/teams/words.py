"""What the app's entry in Teams says of the bot, and of each command."""

from __future__ import annotations

from bot.settings import Settings
from bot.types import Command, Control

SHORT = "An AI assistant that remembers your conversation and uses your tools."

COMMANDS: dict[Command | Control, str] = {
    Command.HELP: "What I understand, and whom to ask about problems",
    Control.START_OVER: "Begin a new conversation; undo takes that back",
    Control.STOP: "Interrupt the answer and drop what waits",
    Command.RETRY: "Ask your last question again",
    Control.UNDO: "Go back to the conversation before the last start over",
    Command.STATUS: "How long our conversation is, and what waits",
    Command.TOOLS: "What I can look up or do",
    Command.FORGET: "Delete our conversations for good; I ask before I do",
}
"""In the order of the menu."""

NOT_IN_THE_MENU: dict[Control, str] = {
    Control.FORGET: "it confirms, and is asked for when it may be said",
    Control.APPROVE: "it answers a question of the bot",
    Control.DECLINE: "it answers a question of the bot",
}


def full_description(settings: Settings) -> str:
    """What people must know before they add the app: that it is AI, what it keeps, how to report an answer."""
    name = settings.bot_name
    kept = (
        f"Conversations are deleted {settings.retention_days:g} days after your last message, or at once when you say "
        '"forget me".'
        if settings.retention_days
        else 'Conversations are kept until you say "forget me".'
    )
    contact = f" Problems: {settings.support_contact}." if settings.support_contact else ""
    parts = [
        f"{name} answers questions with the help of an AI model and of your organisation's tools. Answers can be "
        "wrong: check what matters. Each answer is labelled as AI-generated, shows its sources where it has some, and "
        f"can be rated: a dislike, with your words, reaches whoever runs {name}.{contact}",
        "Each person has one lasting conversation. In groups and channels the bot answers when it is mentioned; "
        "everyone there sees the answer.",
        kept,
    ]
    if settings.teams_receive_all:
        parts.append(
            "Where the app is added to a chat or a team it receives all messages there, so that a reply to the bot's "
            "own message needs no mention. What is not for the bot is neither answered nor kept."
        )
    return "\n\n".join(parts)
