"""What a container starts: the commands, scripts and shells on the way, the interpreter and its path."""
