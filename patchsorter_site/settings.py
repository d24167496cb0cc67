"""The one settings file: the environment comes in here and nowhere else.

`manage.py` starts the embedded PostgreSQL and sets DATABASE_URL where none is given, so this file only reads.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("PATCHSORTER_DATA", BASE_DIR / "data")).resolve()


def _flag(name: str, default: bool) -> bool:
    return os.environ.get(name, str(default)).strip().lower() in {"1", "true", "yes", "on"}


def _list(name: str) -> list[str]:
    return [item.strip() for item in os.environ.get(name, "").split(",") if item.strip()]


def _secret_key() -> str:
    """The configured key, or one made on the first start and kept beside the data, readable by its owner alone."""
    if key := os.environ.get("PATCHSORTER_SECRET_KEY"):
        return key
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    path = DATA_DIR / "secret_key"
    with suppress(FileNotFoundError):
        if path.stat().st_size == 0:
            path.unlink()  # what a crash left
    if not path.exists():
        descriptor, temporary = tempfile.mkstemp(dir=DATA_DIR, prefix="secret_key.")  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was quicker: its key counts
            os.link(temporary, path)
        os.unlink(temporary)
    return path.read_text()


def _private_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _database(url: str) -> dict[str, object]:
    """A Django database entry from postgresql://user:password@host:port/name?host=/socket/folder."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    options: dict[str, object] = {key: values[0] for key, values in query.items() if key not in {"host", "port"}}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.get("host", [unquote(parts.hostname or "")])[0],
        "PORT": query.get("port", [str(parts.port or "")])[0],
        "CONN_MAX_AGE": 0,
        "OPTIONS": options,
    }


DEBUG = _flag("PATCHSORTER_DEBUG", False)
SECRET_KEY = _secret_key()
HOST = os.environ.get("PATCHSORTER_HOST", "127.0.0.1")
PORT = int(os.environ.get("PATCHSORTER_PORT", "8000"))
# From this machine it is always reached: the start, and health checks, ask it there.
ALLOWED_HOSTS = [*_list("PATCHSORTER_ALLOWED_HOSTS"), "localhost", "127.0.0.1", "[::1]", HOST]
CSRF_TRUSTED_ORIGINS = _list("PATCHSORTER_TRUSTED_ORIGINS")
HTTPS = _flag("PATCHSORTER_HTTPS", False)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "channels",
    "csp",
    "django_cotton",
    "django_htmx",
    "django_q",
    "django_vite",
    "drf_spectacular",
    "knox",
    "rest_framework",
    "apps.common",
    "apps.audit",
    "apps.accounts",
    "apps.projects",
    "apps.images",
    "apps.objects",
    "apps.labels",
    "apps.models",
    "apps.workspace",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "apps.accounts.middleware.PasswordChangeRequired",
]

ROOT_URLCONF = "patchsorter_site.urls"
ASGI_APPLICATION = "patchsorter_site.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Two roles of one database: the web and the workers may add to the label history but not change it; migrations own it.
DATABASES = {
    "default": _database(os.environ["DATABASE_URL"]),
    "owner": _database(os.environ.get("DATABASE_OWNER_URL", os.environ["DATABASE_URL"])),
}
EMBEDDED_DATABASE = _flag("PATCHSORTER_EMBEDDED_DATABASE", False)  # set by manage.py where it starts the database
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "apps.accounts.adapters.InvitationOnlyAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"
ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,5/5m/key"}
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
# Everything a page needs comes from here; atlases are blobs. Styles that a script sets (CSSOM) are no inline styles.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [path for path in [BASE_DIR / "frontend" / "dist"] if path.exists()]
MEDIA_ROOT = DATA_DIR / "media"
# Foundation models, each a folder with model.safetensors and config.json: what an administrator puts there.
WEIGHTS_ROOT = Path(os.environ.get("PATCHSORTER_WEIGHTS", DATA_DIR / "weights")).resolve()
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
DJANGO_VITE = {"default": {"manifest_path": BASE_DIR / "frontend" / "dist" / "manifest.json"}}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024 * 1024  # ordinals of a whole lasso: 4 bytes each
FILE_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
FILE_UPLOAD_TEMP_DIR = _private_folder(DATA_DIR / "incoming")  # /tmp may be small, or memory

# Server folders from which `import_images` may read; unset: whatever the operator at the shell can read.
IMPORT_ROOTS = [Path(root).resolve() for root in _list("PATCHSORTER_IMPORT_ROOTS")]
UPLOAD_MAX_BYTES = int(os.environ.get("PATCHSORTER_UPLOAD_MAX_BYTES", 2 * 1024**3))

# allauth counts sign-in attempts in the default cache: one web process keeps them itself, where nothing else pushes them out; several share
# them through Redis, where what was not asked for longest makes way, which pictures are long before.
_CACHE_ENTRIES = {"default": 100_000, "pictures": 300, "reviews": 10_000}
REDIS_URL = os.environ.get("REDIS_URL")
if REDIS_URL:
    CACHES: dict[str, dict[str, object]] = {
        name: {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL, "KEY_PREFIX": name}
        for name in _CACHE_ENTRIES
    }
    CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
    }
else:
    CACHES = {
        name: {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": name,
            "OPTIONS": {"MAX_ENTRIES": n_entries},
        }
        for name, n_entries in _CACHE_ENTRIES.items()
    }
    CHANNEL_LAYERS = {"default": {"BACKEND": "apps.common.channel_layer.PostgresChannelLayer"}}

# `retry` must outlast every job: the ORM broker hands a task out again once it has passed, whether or not the task
# still runs. Lost work is found by the lease on our own Job row, not by the queue.
_MONTH_S = 30 * 24 * 60 * 60
_CLUSTER = {
    "timeout": _MONTH_S,
    "retry": 2 * _MONTH_S,
    "max_attempts": 1,
    "ack_failures": True,
    "recycle": 10**6,  # workers stay warm: a new one pays seconds for imports
    "orm": "default",
    "workers": 1,
}
Q_CLUSTER = {
    **_CLUSTER,
    "name": "cpu",
    "save_limit": 100,
    "catch_up": False,
    "poll": 0.5,
    "ALT_CLUSTERS": {
        "cpu": _CLUSTER,
        "gpu": {**_CLUSTER, "daemonize_workers": False},
    },
}
JOB_LEASE_SECONDS = int(os.environ.get("PATCHSORTER_JOB_LEASE_SECONDS", 30))

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.common.authentication.PageAuthentication",
        "apps.accounts.authentication.TokenAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": [
        "apps.common.api.BoundedJSONParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "apps.common.description.Description",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
KNOX_TOKEN_MODEL = "accounts.ApiToken"
REST_KNOX = {"AUTH_HEADER_PREFIX": "Bearer", "TOKEN_PREFIX": "ps_"}
MIGRATION_MODULES = {"knox": None}  # they would make the table of its own model, which ours stands in for
SPECTACULAR_SETTINGS = {
    "TITLE": "PatchSorter",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {
        "in_one_line": {"()": "django.utils.log.CallbackFilter", "callback": "ext://apps.common.logs.in_one_line"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["in_one_line"]}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # It tells of every job three times; what a job does is in its own log.
    "loggers": {"django-q": {"level": "WARNING"}},
}
