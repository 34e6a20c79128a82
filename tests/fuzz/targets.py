"""All targets by name. One more is a function in a module of readers, and a line here; its seeds are a line in seeds.py."""

from pydantic import ValidationError

from lockstep.environment.binaries.sharedobject import InvalidObjectError
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.shellscript import NotUnderstoodError
from lockstep.environment.catalogue.servers.gunicornconfig import SettingsError
from lockstep.environment.catalogue.system.rpmheader import RpmHeaderError
from lockstep.environment.document import InvalidDocumentError
from lockstep.environment.requirements import InvalidRequirementsError
from lockstep.environment.statement import InvalidStatementError
from lockstep.environment.tree import UnreadableFileError
from lockstep.formats.dsse import InvalidEnvelopeError
from lockstep.formats.mlmodel import InvalidMLmodelError, read_mlmodel
from lockstep.images.image import ImageError
from lockstep.images.layers.record import InvalidLayerRecordError
from lockstep.images.registry.credentials import InvalidCredentialsError
from tests.fuzz import catalogue, images
from tests.fuzz.target import Target

# Values that no document can hold: who writes the document refuses them (catalogue.describe.invalid_document_error).
_CATALOGUE = (CatalogueError, UnreadableFileError, ValidationError)

TARGETS: dict[str, Target] = {
    "tar": Target(images.tar, (ImageError,)),
    "pax": Target(images.pax, (ImageError,)),
    "layer": Target(images.layer, (ImageError, *_CATALOGUE)),
    "decompress": Target(images.decompress, (ImageError,)),
    "manifest": Target(images.manifest, (ImageError,)),
    "index": Target(images.index, (ImageError,)),
    "config": Target(images.config, (ImageError,)),
    "reference": Target(images.reference, (ImageError,)),
    "dockerconfig": Target(images.dockerconfig, (InvalidCredentialsError,)),
    "metadata": Target(catalogue.metadata, _CATALOGUE),
    "record": Target(catalogue.record, _CATALOGUE),
    "origin": Target(catalogue.origin, _CATALOGUE),
    "wheel": Target(catalogue.wheel, _CATALOGUE),
    "dpkg": Target(catalogue.dpkg, _CATALOGUE),
    "apk": Target(catalogue.apk_, _CATALOGUE),
    "rpm": Target(catalogue.rpm_, _CATALOGUE),
    "rpmheader": Target(catalogue.rpmheader, (RpmHeaderError,)),
    "md5sums": Target(catalogue.md5sums_, _CATALOGUE),
    "gunicorn": Target(catalogue.gunicorn, (SettingsError,)),
    "entryscript": Target(catalogue.entryscript),
    "modelsettings": Target(catalogue.modelsettings, _CATALOGUE),
    "servers": Target(catalogue.servers, _CATALOGUE),
    "rpmmanifest": Target(catalogue.rpmmanifest, _CATALOGUE),
    "conda": Target(catalogue.conda_, _CATALOGUE),
    "object": Target(catalogue.object_, (InvalidObjectError,)),
    "shell": Target(catalogue.shell, (NotUnderstoodError,)),
    "dsse": Target(catalogue.dsse, (InvalidEnvelopeError, InvalidStatementError)),
    "layerrecord": Target(images.layerrecord, (InvalidLayerRecordError,)),
    "osrelease": Target(catalogue.osrelease),
    "launch": Target(catalogue.launch, _CATALOGUE),
    "shebang": Target(catalogue.shebang, _CATALOGUE),
    "pyvenv": Target(catalogue.pyvenv, _CATALOGUE),
    "pth": Target(catalogue.pth, _CATALOGUE),
    "elf": Target(catalogue.elf_),
    "libc": Target(catalogue.libc_),
    "requirements": Target(catalogue.requirements, (InvalidRequirementsError,)),
    "document": Target(catalogue.document, (InvalidDocumentError,)),
    "mlmodel": Target(read_mlmodel, (InvalidMLmodelError,)),
}
