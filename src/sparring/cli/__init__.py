"""The command `sparring`, and what the terminal shows."""
