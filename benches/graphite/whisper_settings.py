"""graphite-web's settings: whisper files below GRAPHITE_STORAGE_DIR, read by its own finder, and no cache."""

SECRET_KEY = "of no use: nobody logs in"
TIME_ZONE = "UTC"
STORAGE_FINDERS = ["graphite.finders.standard.StandardFinder"]
FUNCTION_PLUGINS: list[str] = []
CARBONLINK_HOSTS: list[str] = []
MEMCACHE_HOSTS: list[str] = []
USE_WORKER_POOL = False
LOG_DIR = ""
LOG_ROTATION = False
LOG_FILE_INFO = LOG_FILE_EXCEPTION = LOG_FILE_CACHE = LOG_FILE_RENDERING = "-"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
