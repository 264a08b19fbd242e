"""``python -m medreasoner_monai`` is ``medreasoner``."""

from medreasoner_monai.cli.app import main

if __name__ == "__main__":
    main()
