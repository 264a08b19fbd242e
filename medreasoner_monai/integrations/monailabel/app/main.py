"""MONAI Label looks for an app in a file of this name; the app is in the installed package medreasoner-monai."""

from medreasoner_monai.integrations.monailabel.server import GroundingApp

__all__ = ["GroundingApp"]
