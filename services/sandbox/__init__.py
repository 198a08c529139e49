"""A limited, confined child process that reads untrusted files."""
