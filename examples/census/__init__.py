"""Two tasks on Census-Income: see README.md."""
