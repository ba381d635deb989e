"""Settings, all from the environment (or `.env` beside manage.py), with safe defaults.

Nothing here trades: `KALSHI_ENV` is the local exchange and every trader is paper unless a person says otherwise.
"""

from __future__ import annotations

from pathlib import Path

from kalshimm import env
from kalshimm.db import plan
from kalshimm.runtime import home

BASE_DIR = Path(__file__).resolve().parent.parent
env.load_dotenv(BASE_DIR / ".env")

KALSHIMM_HOME = home.locate(BASE_DIR)
KALSHIMM_PORT = env.integer("KALSHIMM_PORT", 8000, minimum=1, maximum=65_535)
# The installation's half of the start flag: without it nothing trades live, whatever else is permitted.
KALSHIMM_LIVE = env.boolean("KALSHIMM_LIVE")
DEBUG = env.boolean("KALSHIMM_DEBUG")
# The gateway's waits for a silent or lost connection, in percent of their length: less only where faults are tried out.
KALSHIMM_WAITS_PERCENT = env.integer("KALSHIMM_WAITS_PERCENT", 100, minimum=1, maximum=100)
# The tape in Redis while the database does not take it; past it the oldest is dropped, with a gap row and an alarm.
KALSHIMM_TAPE_BYTES = env.integer("KALSHIMM_TAPE_BYTES", 2 << 30, minimum=1 << 20, maximum=1 << 40)

KALSHI_ENV = env.choice("KALSHI_ENV", ("local", "demo", "prod"), "local")
KALSHI_REST_URL = env.text("KALSHI_REST_URL")
KALSHI_WS_URL = env.text("KALSHI_WS_URL")
# Typed at another terminal it means the exchange that `up` runs in this home, as it means its stores.
_exchange = home.running_exchange(KALSHIMM_HOME) if KALSHI_ENV == "local" else None
if _exchange and not (KALSHI_REST_URL or KALSHI_WS_URL):
    KALSHI_REST_URL, KALSHI_WS_URL = _exchange.rest, _exchange.ws
KALSHI_KEY_ID = env.secret("KALSHI_KEY_ID")
KALSHI_PRIVATE_KEY_PATH = env.text("KALSHI_PRIVATE_KEY_PATH")

SECRET_KEY = env.secret("KALSHIMM_SECRET_KEY") or home.secret_key(KALSHIMM_HOME)
ALLOWED_HOSTS = env.text("KALSHIMM_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

# Given stores win; else those that `up` runs in this home; else a command starts its own (kalshimm.commandline).
_stores = home.running_stores(KALSHIMM_HOME)
DATABASE_URL = env.secret("DATABASE_URL") or (_stores.database_url if _stores else "")
REDIS_URL = env.redis_url(env.secret("REDIS_URL") or (_stores.redis_url if _stores else "redis://127.0.0.1:6379/0"))
DATABASES = {"default": env.database(DATABASE_URL or "postgresql://kalshimm@127.0.0.1/kalshimm")}

# Exchange time from a paper trader's decision until it takes effect: order to book, and the feed's own age.
PAPER_LATENCY_US = 1_000 * env.integer("KALSHIMM_PAPER_LATENCY_MS", 10, minimum=0, maximum=60_000)

# Days that history is kept, by what it is; 0 keeps it for ever. `manage.py storage` carries a change out.
RETENTION_DAYS: dict[str, int] = {
    name: env.integer(f"KALSHIMM_RETENTION_{name.upper()}_DAYS", days, minimum=0, maximum=plan.RETENTION_MAX_DAYS)
    for name, days in plan.RETENTION_DAYS.items()
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "channels",
    "django_htmx",
    "rest_framework",
    "timescale",
    "kalshimm",
    "kalshimm.ops",
    "markets",
    "feed",
    "traders",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "kalshimm.middleware.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "kalshimm.middleware.LoginMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "kalshimm.urls"
ASGI_APPLICATION = "kalshimm.asgi.application"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
# Two copies on one host differ only by port, which cookies ignore.
SESSION_COOKIE_NAME = f"kalshimm_session_{KALSHIMM_PORT}"
CSRF_COOKIE_NAME = f"kalshimm_csrf_{KALSHIMM_PORT}"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "kmm-channels"},
    },
}

CELERY_BROKER_URL = CELERY_RESULT_BACKEND = env.celery_url(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # served straight from the checkout; nothing to collect on one machine
WHITENOISE_MAX_AGE = 0  # asked each time and answered 304: no old style sheet after an upgrade

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING_CONFIG = None  # kalshimm.runtime.logs, called by manage.py and asgi
