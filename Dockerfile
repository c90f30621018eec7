# The app for a Hugging Face Space or any other place that runs containers; docs/deploy.md.
FROM python:3.11-slim-bookworm

# A new volume on /data starts as this folder is: the user's.
RUN useradd --create-home --uid 1000 user && install -d -o user -g user /data

# What only changes when a dependency does comes first, so that a new commit builds in seconds.
WORKDIR /app
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock

# Owned by root and never written: the app runs as another user.
COPY . ./
RUN python -m compileall -q app.py home.py pages trashnet

# A temporary folder, unless TRASHNET_HOME names a mounted one.
ENV HOME=/home/user \
    PYTHONUNBUFFERED=1 \
    TRASHNET_HOME=/tmp/trashnet
USER 1000

EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/_stcore/health', timeout=4)"]
CMD ["streamlit", "run", "app.py", "--server.address=0.0.0.0", "--server.port=7860", "--server.headless=true", "--server.fileWatcherType=none"]
