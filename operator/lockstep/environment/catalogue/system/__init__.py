"""The packages of the system, from each of the databases that there are."""
