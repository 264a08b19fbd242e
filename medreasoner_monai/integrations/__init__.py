"""The bundle behind other projects' servers: MONAI Label and MONAI Deploy, each in an environment of its own."""
