"""`python -m teachback` is `teachback`."""

from teachback.cli import main

if __name__ == "__main__":
    main()
