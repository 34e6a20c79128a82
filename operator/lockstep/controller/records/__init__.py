"""What the operator has put on record: promotions, scanned images, read layers, and how long each is kept."""
