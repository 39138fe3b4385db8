"""What the agent may call: one file a subject."""
