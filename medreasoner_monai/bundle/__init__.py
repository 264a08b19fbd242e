"""The MONAI bundle: filled from a merged model, opened, and run on a DICOM series with a question."""
