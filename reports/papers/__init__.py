"""What is known of the papers, and what is said of them: pages of methods, settings beside theirs, citations."""
