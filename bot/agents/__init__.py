"""Agent services, one module a service; each implements `bot.ports.Agent`."""
