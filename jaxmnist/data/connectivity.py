"""Is a download going to work? Asked before TensorFlow Datasets retries for three and a half minutes."""

import queue
import threading

TIMEOUT = 4.0  # seconds to connect, and again for the first byte of an answer
# Looking up a name and trying each of a host's addresses have no timeout of their own; users are promised an
# answer within 10 seconds, and importing TensorFlow Datasets comes on top.
DEADLINE = 8.0


def why_unreachable(url: str) -> str | None:
    """None when `url` can be downloaded, otherwise the reason in a few words, within `DEADLINE` seconds.

    Goes through `requests` as TensorFlow Datasets does, so proxies and certificates are the same.
    """
    import requests

    def probe() -> str | None:
        try:
            # A GET whose body is not read, since not every server and proxy answers HEAD as it answers GET.
            with requests.get(url, stream=True, timeout=TIMEOUT) as response:
                return None if response.ok else f"HTTP status {response.status_code}"
        except requests.Timeout:
            return f"no answer within {TIMEOUT:g} seconds"
        except Exception as error:  # anything, or the caller would wait for this thread until the deadline
            return root_cause(error)

    reason: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # A daemon, because nothing can interrupt a name lookup: it is left behind when the deadline passes.
    threading.Thread(target=lambda: reason.put(probe()), daemon=True).start()
    try:
        return reason.get(timeout=DEADLINE)
    except queue.Empty:
        return f"no answer within {DEADLINE:g} seconds"


def root_cause(error: BaseException) -> str:
    """The innermost cause in its own words: "Connection refused" instead of four wrapped representations."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
