"""Where `stages.browse` serves its page: on this machine alone."""

HOST, PORT = "127.0.0.1", 8765


def page_address(port: int = PORT) -> str:
    """What to open in a browser."""
    return f"http://{HOST}:{port}/"


def cluster_address(number: int) -> str:
    """What opens one cluster, by its number in clusters.csv."""
    return f"{page_address()}#cluster-{number}"
