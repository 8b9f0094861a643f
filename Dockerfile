# One image for every process: watchers, workers, the demo's clusters. `docker compose build` makes it; both builders do.
FROM python:3.13-slim

# Dependencies first, from the two files that name them: a change of our source does not install them again.
# The build backend is among them, so that installing our source below needs no network.
WORKDIR /usr/src/crosscurrent
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb')); \
      print(*project['project']['dependencies'], *project['build-system']['requires'], sep='\n')" > requirements.txt \
 && pip install --no-cache-dir --root-user-action=ignore -r requirements.txt -c constraints.txt

# Directories that volumes are mounted on: a new volume takes its owner and mode from here.
# `state` is for any user, because `own` runs as the one who can read the kubeconfig.
RUN cd /var/lib && install -d -o 65532 -g 65532 -m 0700 crosscurrent/broker crosscurrent/clusters crosscurrent/nats \
 && install -d -o 65532 -g 65532 crosscurrent crosscurrent/kubeconfigs \
 && install -d -m 1777 crosscurrent/state

COPY README.md ./
COPY crosscurrent crosscurrent
COPY deploy/crds deploy/crds
COPY engine engine
COPY examples/talk examples/talk
COPY reconcilers reconcilers
COPY schemas schemas
COPY watchers watchers
RUN pip install --no-cache-dir --root-user-action=ignore --no-deps --no-build-isolation .

LABEL org.opencontainers.image.title="Crosscurrent" \
      org.opencontainers.image.description="Event-sourced reconciliation across Kubernetes clusters"

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/var/lib/crosscurrent/state
WORKDIR /var/lib/crosscurrent/state
USER 65532:65532
ENTRYPOINT ["crosscurrent"]
CMD ["--help"]
