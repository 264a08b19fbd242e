"""What reviewers said about the samples of a data set: the store of their verdicts, and what follows from them."""
