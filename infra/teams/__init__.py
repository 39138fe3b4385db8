"""The app package of Microsoft Teams: `python -m infra.teams build`."""
