"""graphite-web's settings: everything in memory, one finder, no cache."""

SECRET_KEY = "of no use: nobody logs in"
TIME_ZONE = "UTC"
STORAGE_FINDERS = ["memory_finder.Finder"]
FUNCTION_PLUGINS: list[str] = []
CARBONLINK_HOSTS: list[str] = []
MEMCACHE_HOSTS: list[str] = []
USE_WORKER_POOL = False
LOG_DIR = ""
LOG_ROTATION = False
LOG_FILE_INFO = LOG_FILE_EXCEPTION = LOG_FILE_CACHE = LOG_FILE_RENDERING = "-"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
