"""A server that takes connections and never says a word."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def silent_server() -> Iterator[tuple[str, int]]:
    """Host and port of it, while the block lasts."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take() -> None:
            with suppress(OSError):  # closed: the block has ended
                while True:
                    held.append(listener.accept()[0])

        threading.Thread(target=take, name="silent-server", daemon=True).start()
        try:
            yield listener.getsockname()
        finally:
            # close() alone does not wake a thread that waits in accept().
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            for connection in held:
                connection.close()
