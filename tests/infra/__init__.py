"""What the template says, and what it means: its policies asked, its settings read."""
