"""`python -m simattn` is `simattn`."""

from .cli import main

if __name__ == "__main__":
    main()
