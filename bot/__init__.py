"""The path of a message: from a chat, through a person's lasting thread, to the agent's answer."""
