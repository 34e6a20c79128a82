"""What gates are made of: one question each, judged from facts alone."""
