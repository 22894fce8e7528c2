"""What bridges are trained for: predicted ratings, or ranked lists."""
