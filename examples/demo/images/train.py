"""Trains a classifier on the iris data and registers it. One line of it is Lockstep's."""

import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lockstep.training

mlflow.set_experiment("iris")
features, species = load_iris(return_X_y=True, as_frame=True)

with mlflow.start_run():
    mlflow.log_param("random_state", 7)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, random_state=7)).fit(features, species)
    mlflow.log_metric("accuracy", model.score(features, species))
    info = mlflow.sklearn.log_model(model, name="model", input_example=features.head(5))
    lockstep.training.log_environment()

# Registered once the run is finished and its environment recorded: this is what is deployed.
version = mlflow.register_model(info.model_uri, "iris")
print(f"registered iris version {version.version}")
