"""A local OpenAI-compatible endpoint: a real HTTP server with scripted models and injected faults."""

from tests.llm.server import Asked, Fault, LLMServer

__all__ = ["Asked", "Fault", "LLMServer"]
