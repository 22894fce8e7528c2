"""The methods that are compared: each gives every user a vector, and every target item an offset and a vector."""
