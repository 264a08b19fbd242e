"""DICOM at both ends: a series in, as pictures a model can be shown; a DICOM-SEG and a picture of the answer out."""
