"""The script that MLflow runs to load a served tagger (a model from code, hence no pickle)."""

from mlflow.models import set_model

from jetexp.serving import JetTagger

set_model(JetTagger())
