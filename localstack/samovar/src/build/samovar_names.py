# Connections to AWS's names go to the stack, which has a certificate for them, because some code builds such a name. A
# name in one of the function's own AWS_ENDPOINT_URL… variables is meant for the world.
import os

if os.environ.get("SAMOVAR_AWS_NAMES"):
    import socket
    from urllib.parse import urlsplit

    _host, _port = os.environ["SAMOVAR_AWS_NAMES"].split(":")
    _meant = {urlsplit(value).hostname for name, value in os.environ.items() if name.startswith("AWS_ENDPOINT_URL")}
    _ports = {80, 443, "80", "443", "http", "https"}
    _resolve = socket.getaddrinfo

    def _getaddrinfo(host, port, *args, **kwargs):
        name = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
        name = name.lower()
        if name.endswith(".amazonaws.com") and name not in _meant and port in _ports:
            host, port = _host, int(_port)
        return _resolve(host, port, *args, **kwargs)

    socket.getaddrinfo = _getaddrinfo
