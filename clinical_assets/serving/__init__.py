"""The local data plane: Envoy in front of two model-server processes, and the supervisor that keeps them alive.

Knows how to serve and route. Whether a model may be served (audit) and how much traffic it gets (rollout) is decided
elsewhere.
"""
