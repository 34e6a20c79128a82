# MLServer with its runtimes for MLflow's models and for scikit-learn's.
ARG BASE
FROM ${BASE}
RUN /opt/mlserver/bin/pip install --quiet mlserver-mlflow==1.7.1 mlserver-sklearn==1.7.1 mlflow==3.17.2
