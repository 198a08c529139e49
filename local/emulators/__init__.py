"""Stand-ins for the parts of Azure that the product uses."""
