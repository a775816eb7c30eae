"""The planners' dashboard: a Panel application that talks to the REST and WebSocket API and to nothing else."""
