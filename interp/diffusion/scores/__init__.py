"""What directions and edits do to factors, and how surely."""
