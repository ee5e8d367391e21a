"""Every error that nncodec raises on purpose, by what the caller can do about it."""

from __future__ import annotations


class NNCodecError(Exception):
    """Base class: the message names the offending value and the remedy in one line."""


class CorruptDataError(NNCodecError):
    """The archive is damaged or is not an nncodec archive; another copy is needed."""


class TruncatedError(CorruptDataError, EOFError):
    """The archive ends too early. Also an EOFError, which users of gzip and lzma catch."""


class UnsupportedVersionError(NNCodecError):
    """The archive or model was made by a format version that this release does not read."""


class LimitError(NNCodecError):
    """Decoding would take more output or memory than the caller allows; nothing was decoded."""


class ModelNotFoundError(NNCodecError):
    """No installed model has the name or hash that was asked for."""


class InvalidModelError(NNCodecError):
    """A model folder exists but cannot be used: wrong shapes, NaN, or fields out of range."""


class EnvironmentMismatchError(NNCodecError):
    """A float archive was made with other software, hardware or settings than are here."""


class HubError(NNCodecError):
    """The Hugging Face hub did not give or take what was asked for."""


class UnknownDomainError(NNCodecError, ValueError):
    """A mix names a domain that the corpus lacks, or gives one that it holds no weight."""


class ContainerFormatError(NNCodecError):
    """A file is no container of tensors that is known here, or its header contradicts itself."""


class TensorNotFoundError(NNCodecError, KeyError):
    """No tensor has that name. Also a KeyError, which users of dicts catch."""

    __str__ = Exception.__str__  # KeyError would put the message in quotes


class UnreadTensorError(NNCodecError, ValueError):
    """A tensor is not of the kind that the Transformer over weights reads; leave it out."""


class UnsupportedDtypeError(NNCodecError, TypeError):
    """The framework that was asked for has no such dtype here; the bytes can still be had."""


class MissingPackageError(NNCodecError, ImportError):
    """An optional package is needed and not installed."""


class FolderError(NNCodecError):
    """A folder of weights cannot be packed, unpacked or loaded as asked."""


class QuantizationError(NNCodecError, ValueError):
    """Weights cannot be quantised, or not as asked: a target out of reach, an unknown format."""


class BaseFileError(NNCodecError):
    """An archive of deltas needs the very file that it was made against, and was not given it."""


class SweepError(NNCodecError, ValueError):
    """A study's configuration or its table of results cannot be used as it is."""


class DivergedError(SweepError):
    """Training came to weights that nothing can be made of; lower rates may help."""


class BenchError(NNCodecError, ValueError):
    """A benchmark was asked for what cannot be measured: an unknown codec, a table that is none."""


class PackError(NNCodecError):
    """Files cannot be packed or unpacked as asked: a name, a changed file, one that is there."""


class MemberNotFoundError(NNCodecError, KeyError):
    """A packed archive has no member of that name. Also a KeyError, which users of dicts catch."""

    __str__ = Exception.__str__  # KeyError would put the message in quotes


class WorkerError(NNCodecError):
    """A worker was lost again and again, or could not be started; the archive was not made."""


class RemoteError(NNCodecError):
    """A file behind a URL cannot be read or written. ``url`` is which one, ``why`` the rest."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{url}: {why}")
        self.url, self.why = url, why

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, str]]:
        """From another process, too."""
        return type(self), (self.url, self.why)


class RemoteNotFoundError(RemoteError, FileNotFoundError):
    """There is no such file, or no such bucket."""


class RemotePermissionError(RemoteError, PermissionError):
    """The credentials are missing, wrong, or do not allow it."""


class RemoteExistsError(RemoteError, FileExistsError):
    """A file is there that is not to be replaced."""


class RemoteChangedError(RemoteError):
    """The file was replaced or removed while it was read; what was read of it is of no use."""
