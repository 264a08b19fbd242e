"""Writers of questions and traces for pictures that come with masks alone."""
