"""A quick test of a download, made before TensorFlow Datasets retries for three and a half minutes."""

import queue
import threading

TIMEOUT = 4.0  # seconds to connect, and again for the first byte of an answer
# Name lookups, and trying all addresses of a host, have no timeout of their own. Users are promised an answer
# within 10 seconds, and importing TensorFlow Datasets comes on top.
DEADLINE = 8.0


def why_unreachable(url: str) -> str | None:
    """Returns None if `url` can be downloaded, otherwise the reason in a few words, within `DEADLINE` seconds.

    Uses `requests` like TensorFlow Datasets, so proxies and certificates are the same.
    """
    import requests

    def probe() -> str | None:
        try:
            # GET without reading the body: not every server and proxy answers HEAD as it answers GET.
            with requests.get(url, stream=True, timeout=TIMEOUT) as response:
                return None if response.ok else f"HTTP status {response.status_code}"
        except requests.Timeout:
            return f"no answer within {TIMEOUT:g} seconds"
        except Exception as error:  # any: without an answer the caller would wait until the deadline
            return root_cause(error)

    reason: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # A daemon thread, because nothing can interrupt a name lookup: it is abandoned at the deadline.
    threading.Thread(target=lambda: reason.put(probe()), daemon=True).start()
    try:
        return reason.get(timeout=DEADLINE)
    except queue.Empty:
        return f"no answer within {DEADLINE:g} seconds"


def root_cause(error: BaseException) -> str:
    """Message of the innermost cause: "Connection refused" instead of four wrapped representations."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
