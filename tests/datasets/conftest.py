"""Fixtures of this folder."""

from tests.image_files import market_folder, write_image  # noqa: F401 - fixtures
