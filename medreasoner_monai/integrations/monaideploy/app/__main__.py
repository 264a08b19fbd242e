"""MONAI Deploy runs this folder; the application is in the installed package medreasoner-monai."""

from medreasoner_monai.integrations.monaideploy.application import main

if __name__ == "__main__":
    raise SystemExit(main())
