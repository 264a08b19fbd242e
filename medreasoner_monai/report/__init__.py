"""The report: one page that holds everything a run did, and needs nothing else to be read."""
