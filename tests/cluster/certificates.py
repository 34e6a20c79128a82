"""The node's own certificate authority, by openssl: one CA, one certificate for each component, one signing key."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.processes import run

_DAYS = "3650"
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Authority:
    """A certificate authority that keeps everything it signs in one folder."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "Authority":
        """Make a new authority and a key to sign service accounts' tokens."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        authority = cls(folder)
        run(
            *("openssl", "req", "-x509", *_CURVE, "-days", _DAYS, "-subj", "/CN=lockstep-test-node"),
            *("-keyout", authority.key("ca"), "-out", authority.certificate("ca")),
        )
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", authority.key("service-accounts"))
        return authority

    def key(self, name: str) -> Path:
        """Return where a private key is kept."""
        return self.folder / f"{name}.key"

    def certificate(self, name: str) -> Path:
        """Return where a certificate is kept."""
        return self.folder / f"{name}.crt"

    def issue(self, name: str, user: str, group: str = "", addresses: Sequence[str] = ()) -> None:
        """Sign a certificate for a client, and for a server where it has addresses."""
        request = self.folder / f"{name}.csr"
        subject = (f"/O={group}" if group else "") + f"/CN={user}"
        run("openssl", "req", "-new", *_CURVE, "-subj", subject, "-keyout", self.key(name), "-out", request)
        extensions = "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth,serverAuth\n"
        if addresses:
            extensions += f"subjectAltName={','.join(addresses)}\n"
        extension_file = self.folder / f"{name}.ext"
        extension_file.write_text(extensions)
        run(
            *("openssl", "x509", "-req", "-days", _DAYS, "-in", request, "-extfile", extension_file),
            *("-CA", self.certificate("ca"), "-CAkey", self.key("ca"), "-CAcreateserial", "-out", self.certificate(name)),
        )
        self.key(name).chmod(0o600)

    def kubeconfig(self, name: str, server: str) -> str:
        """Return a kubeconfig that acts as the holder of a certificate, with everything embedded."""
        certificate, key = _base64(self.certificate(name)), _base64(self.key(name))
        return self._kubeconfig(server, f"client-certificate-data: {certificate}\n    client-key-data: {key}")

    def kubeconfig_with_token(self, token: str, server: str) -> str:
        """Return a kubeconfig that acts as the holder of a bearer token."""
        return self._kubeconfig(server, f"token: {token}")

    def _kubeconfig(self, server: str, credentials: str) -> str:
        return _KUBECONFIG.format(server=server, ca=_base64(self.certificate("ca")), credentials=credentials)


_KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: lockstep
contexts:
- name: lockstep
  context: {{cluster: lockstep, user: lockstep}}
clusters:
- name: lockstep
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: lockstep
  user:
    {credentials}
"""


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
