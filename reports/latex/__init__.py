"""The tables in LaTeX, with booktabs alone: as wide as the text of an article, and no higher than its page."""
