"""How Threadkeeper is deployed: the Teams app, the Slack app, the image, and Azure."""
