"""One node that lets nobody in unknown: TLS everywhere, SCRAM users or client certificates, and ACLs."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from local_kafka.certificates import Authority
from local_kafka.cluster import Cluster
from local_kafka.node import QUICK_JVM, Node
from local_kafka.ports import HOST

ADMIN = "admin"


class SecureCluster(Cluster):
    """A node with a listener for SASL over TLS (`bootstrap`) and one for client certificates (`mutual_bootstrap`).

    The user `admin` may do everything; others only what ACLs let them. The principal of a certificate is its common
    name: ``User:CN=name``. Passwords are seen by ``ps`` while the folder is formatted: Kafka takes them no other way.

    Attributes:
        users: password by user, `admin` among them.
        authority: signs certificates that the node trusts.
    """

    def __init__(
        self,
        folder: Path,
        users: Mapping[str, str],
        *,
        properties: Mapping[str, str] = MappingProxyType({}),
        jvm: Sequence[str] = QUICK_JVM,
    ) -> None:
        super().__init__(folder, properties=properties, jvm=jvm)
        self.users = {ADMIN: secrets.token_urlsafe(12), **users}
        self.authority = Authority(folder.resolve() / "tls")
        self._mutual_port = self._ports.take_any()
        broker = self.authority.sign("broker")
        self._keystore = folder.resolve() / "tls" / "keystore.pem"
        self._keystore.touch(0o600)
        self._keystore.write_bytes(broker.key.read_bytes() + broker.certificate.read_bytes())

    @property
    def mutual_bootstrap(self) -> str:
        """Where clients connect that have a certificate."""
        return f"{HOST}:{self._mutual_port}"

    def _format_options(self) -> Sequence[str]:
        return [f"--add-scram=SCRAM-SHA-512=[name={name},password={word}]" for name, word in self.users.items()]

    def _defaults(self, node: Node) -> dict[str, str]:
        login = f'username="{ADMIN}" password="{self.users[ADMIN]}"'
        clients = f"SASL_SSL://{node.bootstrap},SSL://{self.mutual_bootstrap}"
        return super()._defaults(node) | {
            "listeners": f"{clients},CONTROLLER://{HOST}:{node.controller_port}",
            "advertised.listeners": clients,
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                f"org.apache.kafka.common.security.scram.ScramLoginModule required {login};"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.certificate),
            "listener.name.ssl.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # ANONYMOUS is the node itself on its controller listener: never add a plaintext listener for clients.
            "super.users": f"User:{ADMIN};User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
        }
