"""Programs that run after a deployment."""
