"""The HTTP application and the local chat page."""
