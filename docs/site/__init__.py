"""The site that `make docs` builds from the pages of `docs/`."""
