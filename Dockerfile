# The course in a container, at the same versions as everywhere: docs/deploy/containers.md says how to build and run it.
FROM python:3.11-slim

# The cache of weights and texts is outside of the home, so that a volume mounted there does not hide it.
ENV COURSE_CACHE=/srv/course-cache \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

WORKDIR /srv/attention-course
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN useradd --create-home --uid 1000 learner && install -d -o learner -g learner .

# What changes seldom comes first. PyTorch's own index has the build without CUDA: 200 MB instead of 2.7 GB.
COPY --chown=learner:learner pyproject.toml constraints.txt ./
RUN python -m pip install --no-deps --index-url https://download.pytorch.org/whl/cpu -c constraints.txt torch

COPY --chown=learner:learner . .
RUN python -m pip install -c constraints.txt -e ".[lab]"

# Everybody reads the cache, and only the superuser writes to it.
RUN python -m course_lib.assets fetch --all && python -m course_lib.assets verify --all && chmod -R a+rX,go-w "$COURSE_CACHE"

USER 1000
EXPOSE 8888
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8888/api', timeout=5)"]

# JupyterLab asks for its token: the log shows it, and JUPYTER_TOKEN sets it.
CMD ["python", "-m", "jupyterlab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "notebooks/00_start_here.ipynb"]
