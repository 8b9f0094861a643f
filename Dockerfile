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
# By their group, because `own` of compose.yaml runs as the user who can read the kubeconfig.
RUN cd /var/lib && install -d -o 65532 -g 65532 -m 0700 crosscurrent/clusters crosscurrent/nats \
 && install -d -o 65532 -g 65532 -m 0750 crosscurrent crosscurrent/broker crosscurrent/kubeconfigs \
 && install -d -o 65532 -g 65532 -m 0770 crosscurrent/state

# What .dockerignore lets in: our source and the files that it ships.
COPY . .
RUN pip install --no-cache-dir --root-user-action=ignore --no-deps --no-build-isolation .

LABEL org.opencontainers.image.title="Crosscurrent" \
      org.opencontainers.image.description="Event-sourced reconciliation across Kubernetes clusters"

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/var/lib/crosscurrent/state
WORKDIR /var/lib/crosscurrent/state
USER 65532:65532
ENTRYPOINT ["crosscurrent"]
CMD ["--help"]
