"""Text for readers: units, tables that fit, progress, files written whole. Knows nothing of the rest."""
