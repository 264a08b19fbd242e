"""``python -m medreasoner_monai`` is ``medreasoner``."""

from medreasoner_monai.cli import main

if __name__ == "__main__":
    main()
