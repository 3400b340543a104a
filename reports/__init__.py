"""Tables, figures and pages made from result rows. Never imports torch."""
