"""A page in the browser to look at clusters and correct them; what a person decides becomes links for the next run."""
