"""Gathers the evidence of one decision, for the controller and for the command line alike."""
