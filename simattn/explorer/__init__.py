"""The explorer: a traced run as one page that plays it. What it shows comes from the trace alone."""
