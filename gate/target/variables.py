"""What a side's processes get of the caller's environment: a short list, and never the gate's own secrets."""

from __future__ import annotations

from collections.abc import Mapping

_PASSED = frozenset(
    {
        # who and where
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"),
        # libraries of interpreters installed outside the system's directories
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
        # a network behind a proxy with its own certificates
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
        # where tool chains live
        *("JAVA_HOME", "GOROOT", "GOPATH", "GOCACHE", "GOPROXY", "CARGO_HOME", "RUSTUP_HOME"),
        *("NVM_DIR", "VOLTA_HOME", "PYENV_ROOT", "RBENV_ROOT"),
    }
)
# Private indexes and their credentials: an install may need them, the application may not see them.
_INSTALLERS = ("PIP_", "UV_", "POETRY_", "NPM_CONFIG_", "npm_config_", "YARN_", "BUNDLE_", "COMPOSER_")
# The same on every machine; [target.env] may say otherwise.
_FIXED = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def for_running(environ: Mapping[str, str]) -> dict[str, str]:
    """What migrations, the application and benchmarks get, before [target.env]."""
    return {name: value for name, value in environ.items() if name in _PASSED} | _FIXED


def for_installing(environ: Mapping[str, str]) -> dict[str, str]:
    """The same with what package installers read."""
    settings = {name: value for name, value in environ.items() if name.startswith(_INSTALLERS)}
    return for_running(environ) | settings | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
