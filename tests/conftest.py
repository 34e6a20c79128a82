"""What all tests share."""

from hypothesis import HealthCheck, settings

# No test fails because the machine is busy: speed is measured in benchmarks/.
settings.register_profile("lockstep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lockstep")
