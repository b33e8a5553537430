"""Kafka's errors in one line: what failed, where, and what to check. Pure, and apart from the client's classes."""

from pipeline.errors import ConfigError, PipelineError, SinkUnavailable

RIGHTS = "docs/access.md says which rights it needs (lethe topics acl)"
_AWAY = {
    "KafkaTimeoutError",
    "KafkaConnectionError",
    "NodeNotReadyError",
    "NoBrokersAvailable",
    "RequestTimedOutError",
}
LOGIN_REFUSED = "it refuses the login: look at LETHE_SASL_USER and LETHE_SASL_PASSWORD_FILE"
_LOGIN = {
    "AuthenticationFailedError",
    "SaslAuthenticationFailedError",
    "SaslAuthenticationFailed",
    "UnsupportedSaslMechanismError",
    "UnsupportedSaslMechanism",
    "IllegalSaslState",
}
_DENIED = {
    "TopicAuthorizationFailedError": "a topic",
    "GroupAuthorizationFailedError": "the group",
    # So a producer hears it that may write to no topic at all.
    "ClusterAuthorizationFailedError": "the cluster, or to write to any topic",
    "AuthorizationError": "something",
}
_SAID = {
    "IncompatibleBrokerVersion": "Kafka at {brokers} is too old: 2.4 or newer",
    "UnsupportedVersionError": "Kafka at {brokers} is too old: 2.4 or newer",
    "KafkaConfigurationError": "an option of the connection is wrong",
    "SecurityDisabledError": (
        "Kafka at {brokers} has no authorizer (authorizer.class.name): whoever connects may do everything there"
    ),
}


def is_login(kind: type[BaseException]) -> bool:
    """Return whether one of the client's classes says that a login is refused."""
    return any(base.__name__ in _LOGIN for base in kind.__mro__)


def to_error(doing: str, brokers: object, kind: type[BaseException]) -> PipelineError:
    """Return our error for one of the client's, whose own text holds whole requests.

    Args:
        doing: what failed, as a verb.
        brokers: where; its text is shown.
        kind: the client's class.
    """
    names = {base.__name__ for base in kind.__mro__}
    if names & _AWAY:
        return SinkUnavailable(
            f"cannot {doing}: no answer from Kafka at {brokers}. Check that a broker runs there, that its "
            "advertised.listeners can be reached from here, and that LETHE_SECURITY is as it wants (LETHE_BROKERS)"
        )
    if is_login(kind):
        return ConfigError(f"cannot {doing} with Kafka at {brokers}: {LOGIN_REFUSED}")
    if denied := [what for name, what in _DENIED.items() if name in names]:
        return ConfigError(f"cannot {doing}: this user lacks a right to {denied[0]} of Kafka at {brokers}; {RIGHTS}")
    for name, text in _SAID.items():
        if name in names:
            return ConfigError(f"cannot {doing}: {text.format(brokers=brokers)}")
    return SinkUnavailable(
        f"cannot {doing}: Kafka at {brokers} answers {kind.__name__}; look at the brokers' log and disks"
    )
