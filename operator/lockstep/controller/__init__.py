"""The controller: watches, queues, gathers evidence, lets the pure packages decide, and acts."""
