"""Pages of the documentation as programs: their files and commands, in order."""
