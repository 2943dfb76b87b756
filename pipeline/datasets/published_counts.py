"""How many images, or else identities, the named data sets hold as published; junk is not counted."""

from collections.abc import Mapping

PUBLISHED_IMAGES: Mapping[str, Mapping[str, int]] = {
    "market1501": {"train": 12_936, "query": 3_368, "gallery": 15_913},
    "dukemtmc": {"train": 16_522, "query": 2_228, "gallery": 17_661},
    "msmt17": {"train": 32_621, "query": 11_659, "gallery": 82_161},
    "personx": {"train": 9_840, "query": 5_136, "gallery": 30_816},
    "veri": {"train": 37_778, "query": 1_678, "gallery": 11_579},
    "randperson": {"train": 132_145, "query": 0, "gallery": 0},
}
# Where the number of images is not published or depends on a draw. VehicleID's gallery is as large as its test list.
PUBLISHED_IDENTITIES: Mapping[str, Mapping[str, int]] = {
    "vehicleid": {"train": 13_164},
    "vehiclex": {"train": 1_362},
    "atrw": {"train": 107},
}
