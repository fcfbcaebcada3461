"""What is owed, claimed, and what repeated failure gives. Pure."""
