"""What `azd up` creates, and what it runs afterwards."""
