"""The doctor's report: the numbers of a run as one HTML file, without network or scripts."""
