"""Charts: declared once, then a picture, a table, and data for the page's script."""
