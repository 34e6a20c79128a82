"""The installed distributions, the modules and files that they own, and whether they are as they were installed."""
