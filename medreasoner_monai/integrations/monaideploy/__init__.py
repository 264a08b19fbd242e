"""An app for MONAI Deploy: a folder of DICOM files and a question in, SEG, report and picture out.

``operators`` and ``application`` import the SDK and are only imported in its environment.
"""
