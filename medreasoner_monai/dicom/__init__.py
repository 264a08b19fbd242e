"""DICOM: series in, views for models, and answers out as segmentation, report and picture."""

from medreasoner_monai.dicom.privacy import silence

silence()
