"""The demo behind `make demo`: one model promoted, one refused by name, on a real cluster."""
