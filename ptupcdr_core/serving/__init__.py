"""What serves people: from source ratings to recommendations with reasons."""
