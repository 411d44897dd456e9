"""Output for people: in the terminal, as plots and as HTML pages."""
