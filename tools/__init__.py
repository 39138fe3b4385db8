"""What the agent can call, one file a subject. Add a file here, or name a folder of your own in TOOLS_DIR."""
