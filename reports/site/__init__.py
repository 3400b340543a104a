"""The pages, what they are made of, and the folder they are written to."""
