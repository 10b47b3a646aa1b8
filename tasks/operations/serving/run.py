"""A port, and the service on it, until it is ended."""

from __future__ import annotations

import logging
import socket

from tasks.errors import ConfigError
from tasks.operations.serving.token import load_or_create, token_file
from tasks.session import Session

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ENDING_S = 5


def serve(session: Session, name: str, *, host: str, port: int, device: str | None) -> None:
    """Serve the line's champion over HTTP until SIGINT or SIGTERM.

    Args:
        session: Whose lake and registry.
        name: The line.
        host: Where to listen; anything but the loopback interface is warned of.
        port: 0: any that is free.
        device: Where the model runs: 'cpu', 'cuda:0'; None: the best there is.

    Raises:
        ConfigError: No such line, the address cannot be listened on, or the token's file is not fit.
    """
    import uvicorn

    from tasks.operations.serving.app import make_app
    from tasks.operations.serving.champion import ChampionWatch
    from tasks.operations.serving.connections import impatient
    from tasks.operations.serving.pictures import Pictures

    settings = session.settings
    line = session.line(name)
    token = load_or_create(settings, name)
    watch = ChampionWatch(session, name, device, settings.serve.check_every_s)
    pictures = Pictures(settings, line.channels)
    with _listening(host, port) as listener:
        try:
            pictures.warm_up()
            watch.start()
            answers = f"model version {watch.current.loaded.record.version}" if watch.current else "no champion yet"
            log.info("serving line %s (%s) at %s", name, answers, _address(host, listener.getsockname()[1]))
            log.info("its bearer token is in %s", token_file(settings, name))
            if host not in LOOPBACK:
                log.warning("%s is reached from other machines, and this is plain HTTP: put TLS before it", host)
            config = uvicorn.Config(
                make_app(settings, watch, pictures, token),
                log_config=None,
                access_log=False,
                server_header=False,
                http=impatient(settings.serve.upload_s),
                ws="none",
                timeout_graceful_shutdown=_ENDING_S,
            )
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            watch.stop()
            pictures.stop()


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ConfigError: The address is not this machine's, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"{host} port {port}: cannot be listened on ({error})", fix="name another with --host and --port; 0 is any"
        ) from error
    return listener


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
