"""The whole stack on one machine, without Docker. The product never imports this."""
