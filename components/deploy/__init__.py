"""The deploy step's contract."""
