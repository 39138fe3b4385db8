"""The crash campaign: real bot processes, a real Teams connector double, the local Foundry, and what can go wrong."""
