"""What is there: pods, who they belong to, what they say, and what bears a Service's labels."""
