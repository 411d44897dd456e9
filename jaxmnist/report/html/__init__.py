"""The report of runs as an HTML page: `page` fills the templates with the facts."""
