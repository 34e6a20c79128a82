"""What the objects are that Lockstep keeps: rendered, labelled, hashed, and compared with what is there."""
