"""Tables and plots. Loaded when something is shown."""
