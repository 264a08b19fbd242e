"""An app for MONAI Label: a question about a DICOM series is answered with a label and the reasoning behind it.

Modules that import MONAI Label or SimpleITK (``server``, ``tasks``, ``datastore``, ``labels``) are only imported in its
environment; the others everywhere.
"""
