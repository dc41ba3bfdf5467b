"""The settings: every variable, its form, its default, and one line about it.

This is the one place where a variable is described. The example file and the reference in
``docs/`` are rendered from it (see :mod:`megamax_sync.config.render`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, PrivateAttr, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from megamax_sync.config import addresses, numbers, paths
from megamax_sync.config.addresses import HttpAddress
from megamax_sync.config.form import InvalidValueError, optional
from megamax_sync.config.paths import AfterDone
from megamax_sync.config.timetable import BandwidthTimetable, timetable
from megamax_sync.errors import ConfigError

PREFIX = "MEGAMAX_"

#: The fields that may also be read from files of their own.
SECRETS = ("login", "key", "http_token", "webhook_secret")

#: The first field of each section, and the section's title.
SECTIONS: Mapping[str, str] = {
    "login": "Account and service",
    "watch": "What is uploaded, and where to",
    "settle_seconds": "When a file counts as finished",
    "workers": "Uploading",
    "timeout_seconds": "Network",
    "sidecar_dir": "After the upload",
    "on_done": "Telling others",
    "state_dir": "The program itself",
}

_EXTENSIONS = (
    "3g2,3gp,asf,avi,divx,f4v,flv,m2ts,m2v,m4v,mkv,mov,mp4,mpe,mpeg,mpg,mts,mxf,"
    "ogm,ogv,qt,rm,rmvb,ts,vob,webm,wmv"
)
_DAY = 86400
_WEEK = 7 * _DAY


def variable(field: str) -> str:
    """The name of a field's environment variable."""
    return PREFIX + field.upper()


def setting(default: str, description: str) -> Any:
    """A field; its default is written, and read, as in the environment. ``""`` is none."""
    return Field(default=default, description=description)


class Settings(BaseSettings):
    """All settings of one run, validated and frozen. Made by :func:`megamax_sync.config.load`.

    Paths are absolute, surrogate-escaped ``str``; sizes are bytes, rates bytes a second, times
    seconds. Secrets are ``SecretStr``, so that no repr shows them.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True
    )

    login: Annotated[SecretStr | None, optional(addresses.secret())] = setting(
        "", "Login of the account (its mail address), from the account settings. A secret."
    )
    key: Annotated[SecretStr | None, optional(addresses.secret())] = setting(
        "", "API key of the account, from the account settings. A secret."
    )
    api_url: Annotated[str, addresses.api_url()] = setting(
        "https://api.megamax.me/api", "Base of all API calls."
    )

    watch: Annotated[tuple[str, ...], paths.folder_list()] = setting(
        "", "Folders to watch, subfolders included; of nested ones the innermost decides."
    )
    folder: Annotated[int | None, optional(numbers.whole(1, None, "a folder ID"))] = setting(
        "", "Megamax folder that uploads go to. None: the account's top folder."
    )
    folders: Annotated[tuple[tuple[str, int], ...], paths.folder_ids()] = setting(
        "", "Megamax folder by subfolder, as anime=12,movies/4k=15; the longest match wins."
    )
    extensions: Annotated[frozenset[str], paths.extensions()] = setting(
        _EXTENSIONS, "File name endings that make a video, without dots, in either case."
    )
    exclude: Annotated[tuple[str, ...], paths.patterns()] = setting(
        "",
        "What to leave out, on the path below the watched folder. Hidden names, sidecars and the "
        "names of unfinished downloads are left out always.",
    )
    min_size: Annotated[int, numbers.size("bytes")] = setting(
        "1", "Smaller files are ignored. An empty file is never uploaded."
    )

    settle_seconds: Annotated[float, numbers.seconds(0.1, _DAY, zero="for at once")] = setting(
        "5", "How long a file must be unchanged; besides, nobody may have it open for writing."
    )
    allow_sparse: Annotated[bool, numbers.truth()] = setting(
        "false", "Upload files with unwritten holes too, instead of waiting until they are filled."
    )
    rescan_seconds: Annotated[float, numbers.seconds(0.1, _WEEK, zero="for none")] = setting(
        "300", "How often all folders are scanned, for what the kernel did not report."
    )
    observer: Annotated[
        Literal["auto", "inotify", "polling"], numbers.choice("auto", "inotify", "polling")
    ] = setting("auto", "How changes are noticed; auto polls where inotify cannot be relied on.")

    workers: Annotated[int, numbers.whole(1, 32, "a number of uploads at a time")] = setting(
        "2", "How many files are sent in parallel."
    )
    bwlimit: Annotated[BandwidthTimetable, timetable()] = setting(
        "off",
        "Bandwidth limit over all uploads together, in rclone's syntax: 10M, or by local time "
        "08:00,2M 23:00,off, with weekdays too: Mon-08:00,2M Sat-00:00,off.",
    )
    retry_seconds: Annotated[float, numbers.seconds(0.01, _DAY)] = setting(
        "5", "The first wait after a failure; it doubles, with full jitter."
    )
    retry_max_seconds: Annotated[float, numbers.seconds(0.01, _WEEK)] = setting(
        "3600", "The longest such wait, unless the service asks for a longer one."
    )
    max_attempts: Annotated[int, numbers.whole(1, 1000, "a number of attempts")] = setting(
        "8", "Attempts that fail because of the file itself, before its job is failed."
    )
    poll_seconds: Annotated[float, numbers.seconds(0.1, _DAY)] = setting(
        "15", "How often conversion is asked about, at first; less often for files that take long."
    )
    api_rate: Annotated[
        float, numbers.decimal(0.01, 1000, "calls a second", zero="for no limit")
    ] = setting("4", "API calls a second at the most; bodies of uploads apart.")

    timeout_seconds: Annotated[float, numbers.seconds(0.1, 3600)] = setting(
        "60", "Time-out to connect, to read, and of a stalled write; never of a whole upload."
    )
    min_rate: Annotated[int, numbers.size("bytes a second", zero="for none")] = setting(
        "1K", "The speed, over a minute, below which an upload counts as stalled."
    )
    continue_seconds: Annotated[float, numbers.seconds(0.1, 60, zero="to ask for none")] = setting(
        "0", "Before the body of 1 MiB or more, the longest wait for the host's 100 Continue."
    )
    upload_verify_tls: Annotated[bool, numbers.truth()] = setting(
        "true", "Verify the certificate of the upload host; false is curl's -k, for it alone."
    )
    ca_file: Annotated[str | None, optional(paths.ca_bundle())] = setting(
        "", "An own CA bundle, besides the system's."
    )
    proxy: Annotated[SecretStr | None, optional(addresses.proxy())] = setting(
        "",
        "A proxy for all calls but to this machine; env takes the one that HTTPS_PROXY names.",
    )

    sidecar_dir: Annotated[str | None, optional(paths.path("a folder"))] = setting(
        "", "Where sidecars go, in a mirrored tree. None: beside each video."
    )
    refresh_links: Annotated[bool, numbers.truth()] = setting(
        "true", "Renew the direct links in sidecars before they expire."
    )
    dedupe: Annotated[bool, numbers.truth()] = setting(
        "true", "Do not upload the same content a second time under another name."
    )
    adopt: Annotated[bool, numbers.truth()] = setting(
        "false", "Look each new file up in the account first, and take a match as uploaded."
    )
    after_done: Annotated[AfterDone, paths.after_done()] = setting(
        "keep", "What becomes of a video once it is done; a move takes the sidecar along."
    )

    on_done: Annotated[tuple[str, ...], paths.command()] = setting(
        "", "Run for each job that is done, without a shell, for at most 600 s."
    )
    on_failed: Annotated[tuple[str, ...], paths.command()] = setting(
        "", "Run for each job that failed, without a shell, for at most 600 s."
    )
    notify: Annotated[tuple[SecretStr, ...], addresses.notification_urls()] = setting(
        "", "Where to send notifications. A secret."
    )
    webhook: Annotated[SecretStr | None, optional(addresses.web_url())] = setting(
        "", "Gets a JSON POST for each job done or failed, each problem and each recovery."
    )
    webhook_secret: Annotated[SecretStr | None, optional(addresses.secret())] = setting(
        "", "Signs those POSTs with HMAC-SHA256. A secret."
    )

    state_dir: Annotated[str, paths.state_dir()] = setting(
        "",
        "Where the queue and the lock live. None: $STATE_DIRECTORY, else "
        "$XDG_STATE_HOME/megamax-sync, else ~/.local/state/megamax-sync.",
    )
    http: Annotated[HttpAddress | None, addresses.http_address()] = setting(
        "off", "Where dashboard, metrics and health are served."
    )
    http_token: Annotated[SecretStr | None, optional(addresses.secret())] = setting(
        "", "Required for every page but /healthz once set; without one pages only show. A secret."
    )
    http_hosts: Annotated[tuple[str, ...], addresses.host_names()] = setting(
        "", "Further host names under which the pages may be asked for."
    )
    log_format: Annotated[
        Literal["auto", "json", "console"], numbers.choice("auto", "json", "console")
    ] = setting("auto", "How the log is written; auto is console on a terminal, else JSON.")
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        numbers.choice("debug", "info", "warning", "error"),
    ] = setting("info", "The least severe messages that are logged.")

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave the sources to :mod:`megamax_sync.config.sources`.

        The stock ones look for unknown names in files alone, take no ``_FILE``, and cannot say
        which of them a value came from.
        """
        # pydantic-settings passes all of them, by these names.
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @classmethod
    def gathered(cls, values: Mapping[str, Any], sources: Mapping[str, str]) -> Self:
        """Validate values by field name, and remember where they came from.

        Raises pydantic's ``ValidationError``, with an
        :class:`InvalidValueError` for each wrong value.
        """
        settings = cls(**values)
        settings._sources = dict(sources)
        return settings

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each field that was set came from: ``command line``, ``environment``, …"""
        return MappingProxyType(self._sources)

    @field_validator("retry_max_seconds")
    @classmethod
    def _longest_is_not_shorter(cls, value: float, info: ValidationInfo) -> float:
        first = info.data.get("retry_seconds", value)
        if value < first:
            problem = f"is less than {variable('retry_seconds')} ({first:g})"
            raise InvalidValueError(f"{value:g}", problem, "set it to that or more")
        return value

    @field_validator("after_done")
    @classmethod
    def _moves_out_of_the_watch(cls, value: AfterDone, info: ValidationInfo) -> AfterDone:
        for folder in info.data.get("watch", ()):
            if value.target is not None and paths.inside(value.target, folder):
                problem = f"is inside the watched folder {folder!r}"
                raise InvalidValueError(
                    f"move:{value.target}", problem, "move to a folder outside of it"
                )
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _signs_something(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.data.get("webhook", value) is None:
            remedy = f"set {variable('webhook')} too, or take this one away"
            raise InvalidValueError(value, "has nothing to sign", remedy, shown=False)
        return value

    @cached_property
    def counted_as(self) -> Mapping[str, str]:
        """What each watched folder counts as, itself or another name; the same for all who ask."""
        return MappingProxyType(paths.counted_once(self.watch))

    @property
    def watched(self) -> tuple[str, ...]:
        """The watched folders, each once."""
        return tuple(dict.fromkeys(self.counted_as.values()))

    def require_watch(self) -> tuple[str, ...]:
        """The watched folders. Raises :class:`ConfigError` if there are none."""
        if not self.watch:
            remedy = "name the folders to watch there, or with --watch"
            raise ConfigError(f"{variable('watch')}: is not set; {remedy}")
        return self.watch

    def require_credentials(self) -> tuple[SecretStr, SecretStr]:
        """Login and key. Raises :class:`ConfigError` for each that is missing."""
        if self.login is not None and self.key is not None:
            return self.login, self.key
        missing = [name for name in ("login", "key") if getattr(self, name) is None]
        raise ConfigError(
            *(
                f"{variable(name)}: is not set; set it, or {variable(name)}_FILE to a file that "
                f"holds it (the account settings show it; --sandbox needs none)"
                for name in missing
            )
        )

    def secrets(self) -> tuple[str, ...]:
        """Every secret text among the settings, in the clear: for the log's redaction alone."""
        held = [self.login, self.key, self.http_token, self.webhook_secret, self.webhook]
        found = [secret.get_secret_value() for secret in (*held, *self.notify) if secret]
        if self.proxy:
            password = urlsplit(self.proxy.get_secret_value()).password
            found += [password, unquote(password)] if password else []
        return tuple(dict.fromkeys(found))
