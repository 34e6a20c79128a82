"""The model frameworks: an interpreter that can import none of them does not serve a model."""

from collections.abc import Mapping

FRAMEWORK_MODULES: Mapping[str, str] = {
    "catboost": "catboost",
    "fastai": "fastai",
    "h2o": "h2o",
    "keras": "keras",
    "lightgbm": "lightgbm",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "onnxruntime-gpu": "onnxruntime",
    "paddlepaddle": "paddle",
    "prophet": "prophet",
    "pyspark": "pyspark",
    "scikit-learn": "sklearn",
    "sentence-transformers": "sentence_transformers",
    "spacy": "spacy",
    "statsmodels": "statsmodels",
    "tensorflow": "tensorflow",
    "tensorflow-cpu": "tensorflow",
    "torch": "torch",
    "transformers": "transformers",
    "xgboost": "xgboost",
    "xgboost-cpu": "xgboost",
}
"""The module that each framework's distribution (PEP 503 name) brings."""
