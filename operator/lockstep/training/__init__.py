"""What a training job imports: one call that records the environment the model was trained in.

    import lockstep.training
    lockstep.training.log_environment()

Neither kopf nor kubernetes is needed for it, and MLflow is imported only when the call is made.
"""

from lockstep.training.capture import capture_environment
from lockstep.training.log import EnvironmentNotLoggedError, log_environment

__all__ = ["EnvironmentNotLoggedError", "capture_environment", "log_environment"]
